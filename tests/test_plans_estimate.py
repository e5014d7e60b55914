"""How much of a plan is left, and how long that takes."""

import pytest

from boards import hand_plan
from fixed_rows import VALUES, finals, measured, plan_of, works
from moebench.board.table import as_text
from moebench.cli.reporting import plan_tables
from moebench.plans.estimate import guess_seconds, left, longest_guess
from moebench.records import Record
from moebench.suites import load_experiment


def test_what_cannot_run_stands_in_the_columns_and_its_reason_below(tmp_path):
    plan = hand_plan(
        problems={"soft_moe": "it fails to import."}, group_problems={("sparse_topk", "digits"): "it is too large."}
    )
    (table,) = plan_tables([plan], tmp_path, 1)
    lines = as_text(lambda console: console.print(table), 100).splitlines()
    head = next(n for n, line in enumerate(lines) if line.startswith("row "))
    ends = {line.split()[0]: (len(line), line.split()[1:]) for line in lines[head : head + 4]}
    assert ends["soft_moe"] == (ends["row"][0], ["-", "-", "-", "-", "cannot", "run"])
    assert ends["sparse_topk"] == (ends["row"][0], ["digits", "264,000", "-", "-", "cannot", "run"])
    assert ends["dense"][1][:4] == ["digits", "264,000", "0/4", "0/3"]
    assert lines[head + 4 :] == ["soft_moe: it fails to import.", "sparse_topk digits: it is too large."]


@pytest.fixture
def plan():
    return plan_of(VALUES)


def ran(done, seconds, status="done"):
    """Records of these works, each of which took so long."""
    cells = [work.cell for work in done]
    return {
        cell.identity: Record(
            identity=cell.identity, cell=cell.to_json(), status=status, provenance={"seconds": seconds}
        )
        for cell in cells
    }


def test_where_nothing_ran_training_is_guessed_and_measures_are_not_counted(plan):
    rest = left(plan, {}.get)
    assert (rest.runs, rest.guessed, rest.unseen) == (len(works(plan)), len(finals(plan)), 6)
    assert rest.seconds > 0
    assert rest.alone == 0


def test_time_is_that_of_runs_of_the_same_row_before_that_of_others(plan):
    digits, one, two = finals(plan)
    seen = ran([one], 7.0) | ran(measured(plan) + measured(plan, alone=True), 1.0)
    rest = left(plan, seen.get, {digits.cell.identity})
    assert (rest.runs, rest.seconds, rest.guessed) == (1, 7.0, 1), "of another row"
    more = plan_of(VALUES, seeds=2)
    seen = ran([one], 7.0) | ran([two], 9.0) | ran(measured(more) + measured(more, alone=True), 1.0)
    rest = left(more, seen.get, {w.cell.identity for w in finals(more) if w.cell.task == "digits"})
    assert (rest.runs, rest.seconds, rest.guessed) == (2, 16.0, 0)


def test_what_runs_alone_does_not_share_the_workers(plan):
    full = plan_of(VALUES, full=True)
    seen = ran(works(plan), 4.0)
    rest = left(full, seen.get)
    # The row of 8 experts has not run: two training runs, their two measures each, and a time.
    assert (rest.guessed, rest.unseen) == (7, 0)
    assert rest.alone == 4.0
    assert rest.seconds == 4.0 * (rest.runs - 1)
    assert rest.on(2) == rest.seconds / 2 + 4.0


def test_a_run_that_failed_is_still_to_come(plan):
    seen = ran(works(plan), 4.0) | ran(finals(plan)[:1], 4.0, "timeout")
    assert left(plan, seen.get).runs == 1
    assert left(plan, ran(works(plan), 4.0).get).runs == 0


def test_attention_counts_where_a_host_has_some():
    """text-quick took 20 minutes where 8 were guessed from the expert layers alone."""
    cell = {"steps": 400, "batch": 16, "axis": "total", "host": {"depth": 2, "dim": 64}}
    decoder = {**cell, "host": {**cell["host"], "heads": 4}}
    seconds, longer = (guess_seconds(each, 264_192, 64, "cpu") for each in (cell, decoder))
    assert longer > 1.3 * seconds
    assert guess_seconds(decoder, 264_192, 128, "cpu") > 2 * (longer - 6), "twice the tokens, and more pairs of them"
    assert guess_seconds({**cell, "host": {"name": "mine", "heads": 4}}, 264_192, 64, "cpu") > 0, "of another author"


def test_a_run_of_the_suite_gpu_is_guessed_to_take_seconds_there():
    """28 minutes for its 91 runs, by the kernels that a step starts; a guess of hours keeps people from starting it."""
    (suite,) = load_experiment("gpu").suites
    host = {"dim": 192, "depth": 6, "heads": 6}
    cell = {"host": host, "axis": suite.axis, "steps": suite.training.steps, "batch": suite.training.batch}
    assert 10 < guess_seconds(cell, suite.budgets[0], 49, "cuda") < 40


def test_how_long_a_run_takes_alone_is_guessed_even_where_some_ran_beside_others(plan):
    guesses = [guess_seconds(w.cell.to_json(), w.cell.budget, w.tokens, "cpu") for w in finals(plan)]
    assert longest_guess(plan) == max(guesses) > 0
