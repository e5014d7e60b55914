"""How much of a sweep is left, and how long that takes."""

import pytest

from moebench.runs import Record
from moebench.suites.sweep import Sweep
from moebench.sweeps.estimate import left
from moebench.sweeps.plan import plan_sweep
from sweeps import VALUES


def plan_of(**how):
    return plan_sweep(Sweep.model_validate(VALUES), **({"full": False, "device": "cpu"} | how))


@pytest.fixture
def plan():
    return plan_of()


def ran(works, seconds, status="done"):
    """Records of these works, each of which took so long."""
    cells = [work.cell for work in works]
    return {
        cell.identity: Record(
            identity=cell.identity, cell=cell.to_json(), status=status, provenance={"seconds": seconds}
        )
        for cell in cells
    }


def test_where_nothing_ran_training_is_guessed_and_measures_are_not_counted(plan):
    rest = left(plan, {}.get)
    assert (rest.runs, rest.guessed, rest.unseen) == (len(plan.works), len(plan.finals), 6)
    assert rest.seconds > 0
    assert rest.alone == 0


def test_time_is_that_of_runs_of_the_same_row_before_that_of_others(plan):
    digits, one, two = plan.finals
    seen = ran([one], 7.0) | ran(plan.derived + plan.alone, 1.0)
    rest = left(plan, seen.get, {digits.cell.identity})
    assert (rest.runs, rest.seconds, rest.guessed) == (1, 7.0, 1), "of another row"
    more = plan_of(seeds=2)
    seen = ran([one], 7.0) | ran([two], 9.0) | ran(more.derived + more.alone, 1.0)
    rest = left(more, seen.get, {w.cell.identity for w in more.finals if w.cell.task == "digits"})
    assert (rest.runs, rest.seconds, rest.guessed) == (2, 16.0, 0)


def test_what_runs_alone_does_not_share_the_workers(plan):
    full = plan_of(full=True)
    seen = ran(plan.works, 4.0)
    rest = left(full, seen.get)
    # The row of 8 experts has not run: two training runs, their two measures each, and a time.
    assert (rest.guessed, rest.unseen) == (7, 0)
    assert rest.alone == 4.0
    assert rest.seconds == 4.0 * (rest.runs - 1)
    assert rest.on(2) == rest.seconds / 2 + 4.0


def test_a_run_that_failed_is_still_to_come(plan):
    seen = ran(plan.works, 4.0) | ran(plan.finals[:1], 4.0, "timeout")
    assert left(plan, seen.get).runs == 1
    assert left(plan, ran(plan.works, 4.0).get).runs == 0
