"""The track generalization: the gap as it is measured, the bound's order, and verdicts that flip with the numbers."""

from __future__ import annotations

import math

import pytest
import torch

import papers
from moebench.errors import UsageError
from moebench.measures.generalization import generalization
from moebench.measures.subject import Subject
from moebench.studies import study_of, suites
from moebench.studies.claim import FAILS, HOLDS, OPEN
from moebench.studies.evidence import Evidence, Part, Run
from moebench.studies.judged import judge
from moebench.studies.plot import draw
from moebench.studies.write import write_evidence
from moebench.suites import load_experiment
from moebench.tasks import get_task
from moestudies.generalization import REPORT
from moestudies.generalization.models import PART, by_seed, complexity, gaps, order, slope

EXTRA = (0.0, 0.004, -0.003, 0.001, -0.002)


def evidence(gap, seeds=5):
    """Every run of the suite done, with the gap that a function of (E, K) gives, and a little for each seed."""
    (suite,) = load_experiment(PART).suites
    runs = []
    for row in papers.rows_of(suite):
        for index in range(seeds):
            for settings in row.combinations(full=False):
                model = {**row.settings, **settings}
                value = gap(model["experts"], model["top_k"]) + EXTRA[index] * (
                    1 + model["top_k"] / 20 + model["experts"] / 100
                )
                scores = {"error_gap": value, "train_accuracy": 1.0 - value / 10, "test_accuracy": 1 - value}
                cell = papers.cell(row, settings, index, "generalization")
                runs.append(Run(row.name, index, papers.record(cell, scores)))
    return Evidence(PART, suite.title, (Part(suite, False, seeds, tuple(runs)),))


def as_the_bound(experts, top_k):
    return 0.05 * complexity((experts, top_k))


def verdicts(gap, seeds=5):
    return {row.claim.key: row.finding.verdict for row in judge(REPORT, evidence(gap, seeds))}


def test_the_bound_by_hand():
    assert complexity((16, 16)) == pytest.approx(4)
    assert complexity((16, 1)) == pytest.approx(math.sqrt(1 + math.log(16)))
    assert complexity((8, 2)) == pytest.approx(math.sqrt(2 * (1 + math.log(4))))


def test_slope_and_order_by_hand():
    line = {model: 3 + 2 * complexity(model) for model in ((4, 2), (8, 2), (16, 8))}
    assert slope(line) == pytest.approx(2)
    assert order(line) == pytest.approx(1)
    upside_down = {model: -value for model, value in line.items()}
    assert order(upside_down) == pytest.approx(-1)
    # One of three pairs is the other way round: (2 - 1) / 3.
    assert order({(4, 2): 0.1, (8, 2): 0.3, (16, 8): 0.2}) == pytest.approx(1 / 3)


def test_gaps_that_follow_the_bound_hold():
    assert set(verdicts(as_the_bound).values()) == {HOLDS}


def test_gaps_that_follow_nothing_do_not():
    found = verdicts(lambda experts, top_k: 0.2 - as_the_bound(experts, top_k))
    assert found == dict.fromkeys(found, FAILS)


def test_a_gap_that_grows_with_experts_alone():
    found = verdicts(lambda experts, top_k: 0.05 * math.log(experts))
    assert found["gap-grows-with-e"] == HOLDS
    assert found["gap-grows-less-with-e"] == FAILS


def test_fewer_seeds_than_asked_for_settle_nothing():
    assert set(verdicts(as_the_bound, seeds=4).values()) == {OPEN}


def test_a_seed_that_lacks_a_model_has_no_line():
    series = {(4, 2): {0: 0.1, 1: 0.2}, (8, 2): {1: 0.3}}
    assert by_seed(series) == {1: {(4, 2): 0.2, (8, 2): 0.3}}
    assert by_seed({}) == {}


def test_what_is_written(tmp_path):
    page = write_evidence(REPORT, evidence(as_the_bound), tmp_path)
    text = page.read_text()
    assert "Of 3 published claims 3 hold" in text
    assert "arXiv 2403.17404" in text
    assert "Soft MoE" not in text
    assert {path.name for path in (tmp_path / "figures").glob("*.svg")} == {"gap-by-number.svg", "gap-by-bound.svg"}
    nothing = Evidence(PART, "", (Part(load_experiment(PART).suites[0], False, 5, ()),))
    drawn, absent = draw(REPORT.plots, nothing)
    assert (drawn, len(absent)) == ([], 2)


def test_the_suite_has_this_report():
    assert study_of(load_experiment(PART)) is REPORT
    assert PART in suites()


def test_models_are_found_under_both_rows():
    assert list(gaps(evidence(as_the_bound), "over K")) == [(16, 1), (16, 2), (16, 4), (16, 8)]
    assert list(gaps(evidence(as_the_bound), "over E")) == [(4, 2), (8, 2), (16, 2), (32, 2)]


class Constant(torch.nn.Module):
    """Always says class 3, with the logit 2."""

    shows_groups = False

    def run(self, x_NCHW, call):
        logits_NC = torch.zeros(len(x_NCHW), 10)
        logits_NC[:, 3] = 2.0
        return {"class": logits_NC}


def test_the_gap_of_a_constant_answer():
    task = get_task("digits")
    subject = Subject(Constant().eval(), task, None, torch.device("cpu"), "fp32", {})
    found = generalization(subject).values
    threes = {part: (task.load(part).targets["class"] == 3).double().mean().item() for part in ("train", "test")}
    assert found["train_accuracy"] == pytest.approx(threes["train"])
    assert found["error_gap"] == pytest.approx(threes["train"] - threes["test"])
    # -log p: log(9 + e^2) less the logit.
    loss = {part: math.log(9 + math.e**2) - 2 * share for part, share in threes.items()}
    assert found["train_loss_nats"] == pytest.approx(loss["train"], abs=1e-6)
    assert found["loss_gap_nats"] == pytest.approx(loss["test"] - loss["train"], abs=1e-6)


def test_training_data_without_an_end_have_no_gap():
    subject = Subject(Constant(), get_task("norm"), None, torch.device("cpu"), "fp32", {})
    with pytest.raises(UsageError) as caught:
        generalization(subject)
    assert (caught.value.code, caught.value.facts) == ("no-fixed-training-data", {"task": "norm"})


def test_few_images_are_kept_each_class_in_proportion(fashion_mnist_dir):
    small, whole = get_task("fashion_mnist_2k"), get_task("fashion_mnist")
    assert small.split == "official test; validation 1/6 of train; 2,000 of the rest, stratified, seed 0"
    labels_N = whole.source.read("train", fashion_mnist_dir).labels_N
    kept, rest = small.partition.rows(labels_N), whole.partition.rows(labels_N)
    assert len(kept["train"]) == 2_000
    assert set(kept["train"]) <= set(rest["train"])
    assert (kept["validation"] == rest["validation"]).all()
    assert [(labels_N[kept["train"]] == label).sum() for label in range(10)] == [200] * 10
