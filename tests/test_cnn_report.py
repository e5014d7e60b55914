"""The report on constraints: verdicts flip when numbers flip, every row is read, and the page is whole."""

from __future__ import annotations

import json

import pytest

import cnns
import papers
from fixed_rows import run, works, write
from hand_made import installed
from moebench.budgets import Budget, count_flops, solve
from moebench.hosts import host_settings, layer_shapes
from moebench.plans.make import make_plan
from moebench.records import Store
from moebench.studies.claim import FAILS, HOLDS, OPEN
from moebench.studies.evidence import Evidence, Part
from moebench.studies.plot import draw
from moebench.studies.write import write_evidence
from moebench.suites import load_experiment
from moebench.suites.request import request_for
from moebench.tasks import get_task
from moestudies.cnn import REPORT
from moestudies.cnn.claims import CLAIMS
from moestudies.cnn.figures import PLOTS
from moestudies.cnn.rows import CONSTRAINTS, FAMILIES, PLAIN, PLAIN_ACTIVE, SEEDS, row_name

BY_KEY = {claim.key: claim for claim in CLAIMS}
(SUITE,) = load_experiment("cnn").suites


@pytest.mark.parametrize("key", BY_KEY)
def test_as_the_paper_has_it_every_claim_holds(key):
    finding = BY_KEY[key].judge(cnns.evidence())
    assert finding.verdict == HOLDS, finding
    assert {item.what.partition(":")[0] for item in finding.items} == {"block", "conv"}


@pytest.mark.parametrize("key", BY_KEY)
def test_fewer_than_five_seeds_settle_nothing(key):
    finding = BY_KEY[key].judge(cnns.evidence(seeds=SEEDS - 1))
    assert finding.verdict == OPEN
    assert "4 training seeds, and 5 are needed" in finding.reason


@pytest.mark.parametrize("key", BY_KEY)
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_family_that_has_not_run_leaves_a_claim_open(key, family):
    finding = BY_KEY[key].judge(cnns.evidence(leave_out=family.name))
    assert finding.verdict == OPEN
    assert finding.reason.startswith(f"{family.name}: ")
    assert finding.reason.endswith("it has not run")


def at(kind, name, **new):
    """A change of one row's scores to a number, a little different for each seed."""

    def change(its_kind, its_arm, index, scores):
        if (its_kind, its_arm) == (kind, name):
            scores.update({score: value + index / 1000 for score, value in new.items()})

    return change


FLIPS = {
    "soft-specialised": at("final", "conv kl", class_information=0.02),
    "hard-general": at("fixed", "block hard", fixed=0.1),
    "hard-accurate": at("final", "block kl", test_accuracy=0.7),
    "soft-even": at("fixed", "conv importance", use_entropy=0.2),
    "constraint-needed": at("fixed", "block none", use_entropy=0.95),
    "soft-experts-needed": at("fixed", "conv hard", fixed=0.1),
    "hard-beats-none": at("final", "conv none", test_accuracy=0.9),
    "beats-same-work": at("final", "block plain active", test_accuracy=0.9),
    "beats-same-parameters": at("final", "conv plain", test_accuracy=0.9),
}


@pytest.mark.parametrize("key", BY_KEY)
def test_one_arm_that_says_otherwise_is_enough_against(key):
    finding = BY_KEY[key].judge(cnns.evidence(change=FLIPS[key]))
    assert finding.verdict == FAILS
    assert "less" in finding.decides.what


def test_an_interval_that_includes_nothing_is_open():
    def change(kind, name, index, scores):
        if (kind, name) == ("final", "block hard"):
            scores["test_accuracy"] = cnns.ACCURACY["kl"] + (index - 2) / 50

    finding = BY_KEY["hard-accurate"].judge(cnns.evidence(change=change))
    assert finding.verdict == OPEN
    assert "the interval includes the bound 0" in finding.reason


def test_the_suite_has_every_row_that_claims_and_figures_read():
    names = {each.name for each in papers.rows_of(SUITE)}
    assert names == {row_name(f, what) for f in FAMILIES for what in (*CONSTRAINTS, PLAIN, PLAIN_ACTIVE)}
    assert SUITE.seeds >= SEEDS
    measured = {each.name for each in papers.rows_of(SUITE) if "fixed" in papers.kinds_of(SUITE, each.name)}
    assert measured == {row_name(f, what) for f in FAMILIES for what in CONSTRAINTS}


def test_all_but_the_plain_layers_of_the_same_work_have_one_budget():
    totals = {each.budget for each in papers.rows_of(SUITE) if not each.name.endswith(PLAIN_ACTIVE)}
    assert len(totals) == 1
    for family in FAMILIES:
        hosts = {json.dumps(each.host) for each in papers.rows_of(SUITE) if each.name.startswith(family.name)}
        assert len(hosts) == 1


def test_arms_differ_from_no_constraint_in_their_constraint_alone():
    settings = {each.name: each.settings for each in papers.rows_of(SUITE)}
    for family in FAMILIES:
        none = settings[row_name(family, "none")]
        assert not {"hard", "loss/importance", "loss/kl"} & none.keys()
        for what, name in (("importance", "loss/importance"), ("kl", "loss/kl"), ("hard", "hard")):
            own = dict(settings[row_name(family, what)])
            assert own.pop(name) > 0
            assert own == none


def test_the_plain_layer_of_the_same_work_does_as_much_for_an_image():
    rows = {each.name: each for each in papers.rows_of(SUITE)}

    def flops(each):
        shapes = layer_shapes(host_settings(each.host), get_task(each.task).info)
        variant = installed(each.variant)
        sizes = solve(variant, Budget("total", each.budget, shapes), each.settings).sizes
        built = [variant.layer(shape, size, each.settings) for shape, size in zip(shapes, sizes, strict=True)]
        return sum(count_flops(layer, shape) for layer, shape in zip(built, shapes, strict=True))

    for family in FAMILIES:
        assert flops(rows[row_name(family, PLAIN_ACTIVE)]) == pytest.approx(
            flops(rows[row_name(family, "none")]), rel=0.01
        )


def test_figures_bear_a_missing_family_and_nothing_at_all():
    drawn, absent = draw(PLOTS, cnns.evidence(leave_out="conv"))
    assert (len(drawn), absent) == (len(PLOTS), [])
    drawn, absent = draw(PLOTS, Evidence("cnn", "", (Part(SUITE, False, 5, ()),)))
    assert (drawn, len(absent)) == ([], len(PLOTS))


def test_the_report_is_written_with_its_rules(tmp_path):
    page = write_evidence(REPORT, cnns.evidence(), tmp_path)
    text = page.read_text()
    claims = json.loads((tmp_path / "claims.json").read_text())["claims"]
    assert [claim["key"] for claim in claims] == list(BY_KEY)
    assert {path.stem for path in (tmp_path / "figures").glob("*.svg")} == {plot.name for plot in PLOTS}
    for claim in CLAIMS:
        assert claim.rule in (tmp_path / "report.md").read_text()
    assert "Of 6 published claims 6 hold, 0 do not hold, and 0 are undecided. Of 3 extensions asked here 3 hold" in text
    assert "hard 0.630" in text
    assert (tmp_path / "cnn.jsonl").is_file()


def test_the_plan_can_be_made(cifar10_dir):
    plan = make_plan(request_for(SUITE, device="cpu", data=cifar10_dir))
    assert len(plan.fixed) == len(SUITE.row) * SUITE.seeds
    assert plan.expected_measures() == 8 * SUITE.seeds


def test_a_few_steps_of_it_run_from_end_to_end(tmp_path):
    values = SUITE.model_dump(exclude_defaults=True) | {"name": "tiny", "seeds": 1, "full_seeds": 1}
    values["training"] |= {"steps": 3, "batch": 16}
    values["row"] = [each for each in values["row"] if each["name"] == "block hard"]
    values["task"] = [{"name": "digits"}]
    values["measure"][0]["rows"] = ["block hard"]
    del values["study"]
    session = run(write(tmp_path / "tiny.toml", values), tmp_path / "results")
    assert session.unfinished == ()
    records = [Store(tmp_path / "results").get(work.cell.identity) for work in works(session.plans[0])]
    (fixed,) = [record.scores for record in records if record.cell["kind"] == "derived"]
    assert {"all", "fixed", "fixed 4", "use 4", "use_entropy"} <= fixed.keys()
    assert {record.counts["layers"][0]["kind"] for record in records} == {"map"}
