"""What the board promises, counted over simulated boards: coverage, and how often equal rows differ significantly."""

import numpy as np
import pytest

from moebench.statistics import calibrate, mean_interval, welch_interval, welch_test
from moebench.statistics.calibration import MOST_ROWS

BOARDS = 4000  # a share near 0.95 then has a standard error of 0.0035


def boards(seeds, tasks, variants, boards=BOARDS):
    """Scores (boards, variants, seeds, tasks): noise that grows by task; every variant has the true mean 0.9."""
    rng = np.random.default_rng([seeds, tasks, variants])
    spread_M = 0.01 * 1.5 ** np.arange(tasks)
    return 0.9 + rng.normal(0, 1, (boards, variants, seeds, tasks)) * spread_M


@pytest.mark.parametrize("tasks", [1, 2, 4])
def test_the_page_prints_that_95_percent_intervals_cover_94_to_97(tasks):
    found = calibrate([1.5**task for task in range(tasks)], seeds=5, rows=2, boards=100_000)
    assert 0.94 <= found.coverage <= 0.97
    assert 0.015 <= found.false_better <= 0.03


def test_the_simulation_counts_what_the_boards_statistics_say():
    # The same boards, once through the simulation's arrays and once through the functions that make a board.
    found = calibrate([1.0, 1.5], seeds=5, rows=3, boards=2000)
    pairs = np.random.default_rng([5, 2, 3]).normal(size=(2, 2000, 5, 2)) * [1.0, 1.5]
    intervals = [welch_interval(a, b) for a, b in zip(*pairs, strict=True)]
    assert found.coverage == np.mean([i.low <= 0 <= i.high for i in intervals])
    assert found.false_better == np.mean([i.low > 0 for i in intervals])


def test_a_simulated_board_of_equals_is_rarely_divided():
    assert 0.015 <= calibrate([1.0], seeds=5, rows=10).familywise_error <= 0.05
    assert calibrate([1.0], seeds=5, rows=1).familywise_error == 0
    assert calibrate([1.0], seeds=5, rows=500).rows == MOST_ROWS


@pytest.mark.parametrize("seeds", [3, 5, 8])
@pytest.mark.parametrize("tasks", [1, 2])
def test_a_board_of_13_equal_rows_errs_on_at_most_5_percent(seeds, tasks):
    assert calibrate([1.0] * tasks, seeds=seeds, rows=13).familywise_error <= 0.05


def test_a_board_that_says_more_errs_more_often():
    """Ten rows, three references, two budgets: what two independent budgets of ranks and references give."""
    alone = calibrate([1.0, 1.2], seeds=8, rows=10)
    whole = calibrate([1.0, 1.2], seeds=8, rows=10, references=3, budgets=2)
    assert alone.anything == pytest.approx(alone.familywise_error)
    assert (whole.references, whole.budgets, whole.familywise_error) == (3, 2, alone.familywise_error)
    assert 0.06 <= whole.anything <= 0.15
    one = calibrate([1.0, 1.2], seeds=8, rows=10, references=3)
    assert whole.anything == pytest.approx(1 - (1 - one.anything) ** 2)
    assert alone.anything < one.anything <= 0.1, "no more than the two families together may err"


@pytest.mark.parametrize("tasks", [1, 4])
def test_mean_intervals_cover_what_they_say(tasks):
    intervals = [mean_interval(a) for (a,) in boards(seeds=5, tasks=tasks, variants=1)]
    assert 0.93 <= np.mean([i.low <= 0.9 <= i.high for i in intervals]) <= 0.97


def test_a_real_difference_is_seen():
    # Four standard deviations of one difference, five seeds: the test must have power, not only caution.
    shifted = [welch_test(a + 0.0566, b).p_value < 0.05 for a, b in boards(5, 1, 2, boards=500)]
    assert np.mean(shifted) > 0.95


@pytest.mark.parametrize("steps_per_deviation", [1, 2])
def test_coarse_accuracies_do_not_make_equals_differ(steps_per_deviation):
    # Three seeds on a small test set: seeds often agree by chance, which must not count as certainty.
    step = 0.0141 / steps_per_deviation
    coarse = np.round(boards(seeds=3, tasks=1, variants=2) / step) * step
    assert np.mean([welch_test(a, b).p_value < 0.05 for a, b in coarse]) <= 0.055
