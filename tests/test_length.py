"""The suite length and its study: from how many steps on five rows are in the order of the longest training."""

import json
import re
from pathlib import Path

import pytest

from moebench.records import Store
from moebench.studies import study_of
from moebench.suites import find_suites, load_experiment
from moestudies.length import LONGEST, PAIRS, PARTS, REPORT, ROWS, ordered, settled_from
from tiny import run_tiny

SUITES = {suite.name: suite for suite in load_experiment("length").suites}


def test_the_parts_differ_in_the_length_and_the_rates_alone():
    assert tuple(SUITES) == PARTS
    assert [suite.training.steps for suite in SUITES.values()] == [600, 2400, 9600]
    fixed = {"name", "title", "training", "tuning"}
    plain = [suite.model_dump(exclude=fixed) for suite in SUITES.values()]
    assert plain[0] == plain[1] == plain[2]
    assert set(SUITES[LONGEST].row_names) == {*ROWS}
    standard = load_experiment("standard").suites[0]
    for suite in SUITES.values():
        assert suite.budgets == [528_512] == standard.budgets[1:]
        assert suite.training.batch == standard.training.batch
        assert suite.host_of(*suite.task) == standard.host_of(standard.task[1])
        assert suite.task_names == ["cifar10"]
    assert study_of(load_experiment("length")) is REPORT


class Made:
    """Evidence of accuracies: (part, row) -> those of the seeds."""

    parts = ()

    def __init__(self, accuracies):
        self.accuracies = accuracies

    def values(self, part, kind, row, score):
        return dict(enumerate(self.accuracies.get((part, row), ())))


def made(**levels):
    """Levels of each row after each length; the seeds of each row lie apart by another amount, 0.03 at most."""
    rows = {row: [0.3 + 0.1 * place] * 3 for place, row in enumerate(ROWS)} | levels
    return Made(
        {
            (part, row): [level + (place + 1) * (length + 1) * each for each in (0.0, 0.001, 0.0021)]
            for place, (row, of_parts) in enumerate(rows.items())
            for length, (part, level) in enumerate(zip(PARTS, of_parts, strict=True))
        }
    )


def verdicts(evidence):
    return [claim.judge(evidence).verdict for claim in REPORT.claims]


def test_an_order_that_never_changes_is_settled_from_the_start():
    evidence = made()
    assert {settled_from(evidence, pair) for pair in PAIRS} == {PARTS[0]}
    assert verdicts(evidence)[:2] == ["holds", "holds"]


def test_a_lead_that_turns_round_after_the_shortest_length():
    evidence = made(dense=[0.1, 0.3, 0.3], sparse_topk=[0.2, 0.2, 0.2])
    assert settled_from(evidence, ("dense", "sparse_topk")) == PARTS[1]
    assert verdicts(evidence) == ["does not hold", "holds", "holds"]


def test_a_lead_that_vanishes_is_not_settled_before_it_has():
    evidence = made(dense=[0.1, 0.1, 0.2], sparse_topk=[0.2, 0.2, 0.2])
    assert settled_from(evidence, ("dense", "sparse_topk")) == PARTS[2]
    assert verdicts(evidence) == ["undecided", "undecided", "holds"]


def test_nothing_is_said_of_what_has_not_run():
    assert verdicts(Made({})) == ["undecided"] * 3
    assert settled_from(Made({}), PAIRS[0]) == ""
    assert ordered(None) == 0


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The whole series on the digits, with its rows and its study, one seed and one trial of a few steps."""
    folder = tmp_path_factory.mktemp("length")
    for part, steps in zip(PARTS, (2, 4, 8), strict=True):
        text = find_suites()[part].read_text()
        for old, new in (
            (r'name = "cifar10"', 'name = "digits"'),
            (r"steps = [\d_]+", f"steps = {steps}"),
            (r"patch = 8", "patch = 4"),
            (r"dim = 64", "dim = 16"),
            (r"528_512", "20_000"),
            (r"batch = 128", "batch = 16"),
            (r"seeds = 3", "seeds = 1"),
            (r"trials = 3", "trials = 1"),
            (r"experts = \[16\]", "experts = [4]"),
        ):
            text, count = re.subn(old, new, text)
            assert count, old
        (folder / f"{part}.toml").write_text(text)
    series = find_suites()["length"].read_text()
    for part in PARTS:
        series = series.replace(f'"{part}"', f'"{folder / part}.toml"')
    (folder / "length.toml").write_text(series)
    return run_tiny(str(folder / "length.toml"), folder / "results", workers=1)


def test_the_series_runs_and_reports_every_pair_after_every_length(ran):
    assert not ran.unfinished
    assert [len(board.entries) for board, _ in ran.boards] == [5, 5, 5]
    page = ran.report.read_text()
    for one, other in PAIRS:
        assert f"{one} less {other}" in page
    for steps in (2, 4, 8):
        assert f"{steps} steps" in page
    claims = json.loads((ran.report.parent / "claims.json").read_text())["claims"]
    assert [claim["verdict"] for claim in claims] == ["undecided"] * 3, "one seed settles nothing"


def test_every_record_of_it_has_a_curve_and_finals_have_one_of_validation(ran):
    store = Store(Path(ran.report).parent.parent)
    for plan in ran.plans:
        for work in plan.training(store.get):
            details = store.get(work.cell.identity).details
            curve, steps = details["curve"], work.cell.steps
            assert curve["steps"] == [*range(1, steps + 1)]
            assert len(curve["train_loss"]) == steps
            assert ("validation_loss" in curve) == (work.cell.kind == "final")
            assert details["train_inputs"] == 1077
