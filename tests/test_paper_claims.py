"""Verdicts flip when numbers flip, and say why where they cannot be given."""

from __future__ import annotations

import pytest

import papers
from moebench.studies.claim import ELSEWHERE, FAILS, HOLDS, OPEN
from moebench.suites import load_experiment
from moestudies.paper import SIZED
from moestudies.paper.claims import CLAIMS, hosts, latency, norm, scale, subsets
from moestudies.paper.figures.costs import LAYERS
from moestudies.paper.figures.norms import GAPS

BY_KEY = {claim.key: claim for claim in CLAIMS}
NOT_SO = {"small-e-no-better", "scale-99-many", "oracle-rise", "retained-mnist"}
"""What does not hold in the evidence as it is made."""

OTHER_SCALE = {"retained-grows", "retained-99-many", "retained-99-few", "depth-selected", "depth-residual"}
"""Claims about models that are too large for the suite ``paper``."""

OTHER_TASK = {"selected-beats-random", "small-e-no-better", "oracle-beats-random"}
"""Claims about MNIST, which may not be there."""

SCALES = {scale.CIFAR100, scale.IMAGES}


@pytest.fixture(scope="module")
def whole():
    return {name: papers.evidence(name=name) for name in ("paper", "paper-gpu")}


def judged(key, **how):
    return BY_KEY[key].judge(papers.evidence(name=BY_KEY[key].part, **how))


def series_of(key):
    return "paper-gpu" if BY_KEY[key].part in SCALES else "paper"


@pytest.mark.parametrize("key", BY_KEY)
def test_every_claim_has_its_verdict(whole, key):
    finding = BY_KEY[key].judge(whole[series_of(key)])
    assert finding.verdict == (ELSEWHERE if key in OTHER_SCALE else FAILS if key in NOT_SO else HOLDS), finding
    assert finding.decides is not None


@pytest.mark.parametrize("key", sorted(OTHER_SCALE | OTHER_TASK))
def test_what_was_judged_on_another_task_or_scale_has_its_number_and_no_verdict(key):
    finding = judged(key)
    assert (finding.verdict, bool(finding.reason)) == (ELSEWHERE, True)
    assert finding.decides is not None
    assert finding.decides.verdict in (HOLDS, FAILS)


def test_claims_about_mnist_are_judged_on_mnist_where_it_has_run():
    def worse_there(part, kind, row, experts, index, scores):
        if part == subsets.MNIST and kind == "subset":
            for name in [name for name in scores if name.startswith("random")]:
                scores[name] = 0.9 + index / 100

    assert BY_KEY["selected-beats-random"].judge(papers.evidence(change=worse_there)).verdict == FAILS
    without = papers.evidence(change=worse_there, leave_out=subsets.MNIST)
    finding = BY_KEY["selected-beats-random"].judge(without)
    assert (finding.verdict, finding.decides.verdict) == (ELSEWHERE, HOLDS)


@pytest.mark.parametrize("key", BY_KEY)
def test_a_part_that_has_not_run_is_open(key):
    part = BY_KEY[key].part
    finding = BY_KEY[key].judge(papers.evidence(name=part, full=False, leave_out=part))
    assert finding.verdict == OPEN
    assert "no run of it is done" in finding.reason


COUNTED = {
    *("norm-theorem-one-expert", "norm-any-number", "norm-residual", "equal-budget"),
    *(key for key in BY_KEY if key.startswith("latency")),
}
"""What is counted, or measured within one session, does not rest on training seeds."""


IN_FULL_ONLY = {"conditions", "norm-one-expert-D5-biases", "norm-falls-D5-biases"}
"""Claims about rows that the reduced form leaves out."""


@pytest.mark.parametrize("key", [key for key in BY_KEY if key not in IN_FULL_ONLY])
def test_two_seeds_are_too_few(key):
    finding = judged(key, full=False, seeds=2)
    if key in COUNTED:
        assert finding.verdict != OPEN
    else:
        assert finding.verdict == (ELSEWHERE if key in OTHER_SCALE | OTHER_TASK else OPEN)
        assert "2 training seeds, and 3 are needed" in finding.decides.reason


def at(kind, row=None, experts=None, **new):
    """A change of scores: a number, or a function of the old one; for names that begin like this."""

    def change(part, its_kind, its_arm, its_experts, index, scores):
        if its_kind == kind and row in (None, its_arm) and experts in (None, its_experts):
            for name in list(scores):
                for start, value in new.items():
                    if name.startswith(start) and scores[name] is not None:
                        scores[name] = value(scores, index) if callable(value) else value

    return change


def other(name, add):
    """A score made of another, and of the seed, so that there is a spread."""
    return lambda scores, index: scores[name] + add * (1 + index / 100)


FLIPS = {
    "norm-one-expert-D2": (at("final", "5x2", 1, test_mse=lambda s, i: 6 + i / 10), FAILS),
    "norm-one-expert-D5": (at("final", "2x5", 1, test_mse=lambda s, i: 0.9 * 12.17 + i - 2), OPEN),
    "norm-one-expert-D2-biases": (at("final", "5x2 biases", 1, test_mse=lambda s, i: 20 + i / 10), FAILS),
    "norm-falls-D2": (at("final", "5x2", 5, test_mse=lambda s, i: 9.5 + i / 100), FAILS),
    "norm-falls-D5-biases": (at("final", "2x5 biases", 10, test_mse=lambda s, i: 0.48 + (i - 2) / 10), OPEN),
    "norm-any-number": (at("gaps", "5x2", 10, beyond_limit_at_largest=0.0), OPEN),
    "retained-mnist": (at("subset", "soft_moe", **{"combine_sum": lambda s, i: s["all"] * (0.95 + i / 1e4)}), HOLDS),
    "scale-99-many": (at("subset", "residual", **{"combine_sum": lambda s, i: s["all"] * (0.995 + i / 1e4)}), HOLDS),
    "scale-99-few": (
        at("subset", "residual", 16, **{"combine_sum k=2": lambda s, i: s["all"] * (0.992 + i / 1e4)}),
        FAILS,
    ),
    "scale-grows": (at("subset", "residual", 128, **{"combine_sum k=16": lambda s, i: 0.2 + i / 100}), FAILS),
    "scale-selected": (at("subset", "residual", 8, **{"random k=2": lambda s, i: 0.9 + i / 100}), FAILS),
    "scale-cifar100-selected": (at("subset", "no residual", 8, **{"random k=2": lambda s, i: 0.9 + i / 100}), FAILS),
    "norm-theorem-one-expert": (at("gaps", None, 1, beyond_limit_at_largest=0.0), FAILS),
    "norm-residual": (at("gaps", "5x2 residual", vectors_beyond_limit_at_largest=1.0), OPEN),
    "selected-beats-random": (
        at("subset", "soft_moe", 32, **{"combine_sum k=8": lambda s, i: s["random k=8"] - 0.01 * (1 + i / 9)}),
        FAILS,
    ),
    "small-e-no-better": (
        at("subset", "soft_moe", 4, **{"combine_sum k=1": lambda s, i: s["random k=1"] + 0.005 * (1 + i / 9)}),
        HOLDS,
    ),
    "retained-grows": (at("subset", "soft_moe", 128, **{"combine_sum k=16": lambda s, i: 0.2 + i / 100}), FAILS),
    "retained-99-many": (
        at("subset", "soft_moe", **{"combine_sum": lambda s, i: s["all"] * (0.995 + i / 1e4)}),
        HOLDS,
    ),
    "retained-99-few": (
        at("subset", "soft_moe", 16, **{"combine_sum k=2": lambda s, i: s["all"] * (0.992 + i / 1e4)}),
        FAILS,
    ),
    "oracle-beats-random": (at("oracle", None, 8, random=lambda s, i: s["oracle"] + 0.01 + i / 1000), FAILS),
    "oracle-beats-null": (at("oracle", None, 16, oracle_null=lambda s, i: s["oracle"] + (i - 2) / 1000), OPEN),
    "oracle-rise": (at("oracle", None, None, oracle_null=lambda s, i: 0.2 + i / 1000), HOLDS),
    "score-combine-max": (
        at("subset", "soft_moe", 64, **{"combine_max k=8": lambda s, i: s["combine_sum k=8"] + 0.02 + i / 1000}),
        FAILS,
    ),
    "score-combine-norm": (
        at("subset", "soft_moe", 8, **{"combine_norm k=1": lambda s, i: s["combine_sum k=1"] + 0.01 + (i - 2) / 99}),
        OPEN,
    ),
    "score-static": (
        at("subset", "soft_moe", 512, **{"static k=64": lambda s, i: s["combine_sum k=64"] + 0.01 + 0.001 * (i + 1)}),
        FAILS,
    ),
    "not-renormalised": (
        at("subset", "soft_moe", 8, **{"combine_sum renormalise": lambda s, i: s["combine_sum k=1"] + 0.1 + i / 99}),
        FAILS,
    ),
    "conditions": (at("subset", "LayerNorm", **{"random k=16": lambda s, i: 0.9 + i / 100}), FAILS),
    "variant-sparse-topk": (at("subset", "sparse_topk", 16, **{"static k=2": lambda s, i: 0.8 + i / 99}), FAILS),
    "variant-random-router": (
        at("subset", "random_router", 64, **{"static k=8": lambda s, i: s["combine_sum k=8"] + (i - 2) / 999}),
        OPEN,
    ),
    "depth-selected": (at("subset", "no residual", **{"random k=16": lambda s, i: 0.9 + i / 100}), FAILS),
    "depth-residual": (at("subset", "residual", none=lambda s, i: 0.01 + i / 100), FAILS),
    "latency-batch-1": (at("cost", latency.LAYER, **{"k=2 layers_speedup": 1.1}), FAILS),
    "latency-batch-100": (at("cost", latency.LAYER, **{"k=2 layers_speedup_low batch=100": 1.5}), OPEN),
    "latency-models": (at("cost", "CIFAR-10", **{"k=8 model_speedup": lambda s, i: 0.5}), FAILS),
}


@pytest.mark.parametrize("key", FLIPS)
def test_the_verdict_flips_with_the_numbers(key):
    change, verdict = FLIPS[key]
    finding = judged(key, change=change)
    elsewhere = key in OTHER_SCALE | OTHER_TASK
    assert finding.verdict == (ELSEWHERE if elsewhere else verdict), finding
    assert (finding.decides.verdict if elsewhere else finding.verdict) == verdict
    assert (finding.verdict in (OPEN, ELSEWHERE)) == bool(finding.reason)


def test_a_model_that_lacks_a_seed_is_compared_on_the_others():
    def lose(part, kind, row, experts, index, scores):
        if kind == "subset" and experts == 16 and index == 4:
            scores["combine_sum k=4"] = None

    finding = judged("selected-beats-random", change=lose)
    assert finding.decides.verdict == HOLDS
    assert [item.estimate.seeds for item in finding.items] == [5, 4, 5, 5, 5, 5, 5]


def test_the_norm_needs_every_number_of_experts():
    found = papers.evidence(name="paper-norm")
    (part,) = found.parts
    runs = tuple(r for r in part.runs if not (r.row == "5x2" and r.kind == "final" and r.setting("experts") == 5))
    less = type(found)(found.name, found.title, (type(part)(part.suite, True, 5, runs),))
    finding = BY_KEY["norm-falls-D2"].judge(less)
    assert (finding.verdict, finding.reason) == (OPEN, "E = 2 less E = 5: it has not run")


def test_totals_are_equal_within_one_per_cent():
    assert subsets.totals_within({2: 1000, 8: 1010}).verdict == HOLDS
    assert subsets.totals_within({2: 1000, 8: 1011}).verdict == FAILS


def test_speed_ups_are_the_ratios_taken_inside_the_rounds():
    run = next(papers.evidence(name="paper-latency").find("paper-latency", "cost", latency.LAYER))
    found = latency.speed_up(run, "layers", 4, 1)
    assert (found.value, found.low, found.high) == pytest.approx((3.5, 3.5 * 0.93, 3.5 * 1.07))
    assert latency.allowed(run, 4, 1) == pytest.approx(4)


def test_the_suites_have_the_arms_that_claims_and_figures_speak_of():
    suites = [suite for name in ("paper", "paper-gpu") for suite in load_experiment(name).suites]
    rows = {suite.name: set(suite.row_names) for suite in suites}
    assert {claim.part for claim in CLAIMS} == set(rows)
    named = {
        norm.PART: {*(a + b for a in norm.WIDTHS.values() for b in ("", " biases")), *(row for _, row, _ in GAPS)}
        | {*norm.TRAINED, *norm.UNTRAINED, *norm.RESIDUAL},
        subsets.PART: {subsets.ROW, *subsets.CONDITIONS},
        subsets.MNIST: {subsets.ROW},
        scale.CIFAR100: {scale.PLAIN},
        scale.IMAGES: {scale.PLAIN, scale.RESIDUAL},
        hosts.DEPTH: {hosts.PLAIN, hosts.RESIDUAL},
        hosts.VARIANTS: {subsets.ROW, *hosts.ROUTED},
        latency.PART: {*LAYERS, *latency.MODELS},
    }
    for part, names in named.items():
        assert names <= rows[part]
    assert all(set(shown) <= rows[part] for part, shown, _ in SIZED)


def test_every_layer_of_the_norm_is_counted():
    gaps = [run for run in papers.evidence(name="paper-norm").parts[0].runs if run.kind == "gaps"]
    counted = {*norm.TRAINED, *norm.UNTRAINED, *norm.RESIDUAL}
    assert {run.row for run in gaps} == counted
