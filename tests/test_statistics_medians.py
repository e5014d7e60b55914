"""median_interval and ratio_interval against binomial numbers worked by hand and scipy's quantile test."""

import numpy as np
import pytest
from scipy import stats

from moebench.statistics import Interval, faster_matrix, median_interval, ratio_interval, trend_p_value


def test_six_samples_reach_95_percent_with_their_range():
    # Both bounds miss with 2 x (1/2)^6: coverage 1 - 2 / 64.
    assert median_interval([3, 1, 2, 6, 5, 4]) == Interval(3.5, 1, 6, 1 - 2 / 64)


def test_nine_samples_leave_one_out_at_each_end():
    # k = 2 misses with 2 (1 + 9) / 512 = 0.039; k = 3 with 2 (1 + 9 + 36) / 512 = 0.18.
    assert median_interval(range(9, 0, -1)) == Interval(5, 2, 8, 1 - 20 / 512)


def test_bounds_at_exactly_the_level_are_taken():
    assert median_interval(range(1, 10), level=1 - 20 / 512).low == 2
    assert median_interval(range(1, 10), level=1 - 19 / 512).low == 1


def test_too_few_samples_say_what_their_range_covers():
    assert median_interval([1, 2, 3, 4, 5]) == Interval(3, 1, 5, 1 - 2 / 32)


def test_one_sample_has_no_bounds():
    assert median_interval([1.5]) == Interval(1.5, None, None, None)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("n", [10, 11, 30, 101, 1000])
def test_order_statistics_are_those_of_scipy(n, level):
    # scipy leaves (1 - level) / 2 or less on each side, with the same order statistics.
    samples = np.arange(n, dtype=float)
    theirs = stats.quantile_test(samples, p=0.5).confidence_interval(level)
    interval = median_interval(samples, level)
    assert (interval.low, interval.high) == (theirs.low, theirs.high)
    k = int(interval.low) + 1
    assert interval.coverage == pytest.approx(1 - 2 * stats.binom.cdf(k - 1, n, 0.5))


def test_coverage_is_what_it_says_for_a_skewed_distribution():
    rng = np.random.default_rng(1)
    rounds = rng.exponential(size=(4000, 12))
    intervals = [median_interval(row) for row in rounds]
    # n = 12, k = 3: 1 - 2 (1 + 12 + 66) / 4096 = 0.961.
    assert intervals[0].coverage == pytest.approx(1 - 158 / 4096)
    held = np.mean([i.low <= np.log(2) <= i.high for i in intervals])
    assert held == pytest.approx(1 - 158 / 4096, abs=0.01)


def test_ratio_by_hand():
    # Ratios 2, 1/2, 3, 1, 4, 2: sorted 1/2 1 2 2 3 4, median 2.
    interval = ratio_interval([2, 1, 6, 5, 4, 2], [1, 2, 2, 5, 1, 1])
    assert interval == Interval(2, 0.5, 4, 1 - 2 / 64)


def test_ratio_takes_its_level():
    # Nine ratios 1 ... 9 at 0.8: k = 3 misses with 2 (1 + 9 + 36) / 512 = 0.18.
    assert ratio_interval(range(1, 10), [1] * 9, 0.8) == Interval(5, 3, 7, 1 - 92 / 512)


def test_ratio_is_taken_inside_a_round():
    # The machine slows down ten times in the middle: ratio of each round 2, of shuffled rounds anything.
    machine = np.array([1, 1, 1, 10, 10, 10, 1.0])
    interval = ratio_interval(2 * machine, machine)
    assert (interval.value, interval.low, interval.high) == (2, 2, 2)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([1, 2], [1, 2, 3], "a_rounds has 2 rounds and b_rounds 3"),
        ([1, 2], [1, 0], "must be positive"),
        ([], [], r"a_rounds has shape \(0,\)"),
        ([[1.0]], [[1.0]], r"a_rounds has shape \(1, 1\)"),
        ([1, np.inf], [1, 1], "a_rounds holds NaN or infinity"),
    ],
)
def test_wrong_rounds_are_named(a, b, message):
    with pytest.raises(ValueError, match=message):
        ratio_interval(a, b)


def against(wins: int, rounds: int = 12) -> list[np.ndarray]:
    """Two rows of so many rounds; the second is faster in ``wins`` of them."""
    base = np.linspace(1.0, 1.1, rounds)
    return [base, np.where(np.arange(rounds) < wins, 0.9, 1.2) * base]


@pytest.mark.parametrize("wins", range(13))
def test_of_two_rows_faster_is_whose_ratio_lies_below_one(wins):
    # Twelve rounds: the third smallest and the third largest are the bounds, so ten of twelve must agree.
    rounds = against(wins)
    faster = faster_matrix(rounds)
    assert faster.tolist() == [[False, wins <= 2], [wins >= 10, False]]
    for a, b in ((0, 1), (1, 0)):
        assert faster[a, b] == (ratio_interval(rounds[a], rounds[b]).high < 1)


def test_of_three_rows_ten_rounds_of_twelve_are_not_enough():
    """p of 10 wins in 12 is 158/4096 = 0.0386, and three times that after Holm's rule; of 12 wins it is 0.0005."""
    base, shaken = against(10)
    assert not faster_matrix([base, shaken, base]).any()
    assert faster_matrix([base, 0.9 * base, base]).tolist() == [[False] * 3, [True, False, True], [False] * 3]


def test_ten_equally_fast_rows_seldom_differ_significantly():
    """Pair by pair at 5 % two of them would be on two boards of three."""
    rng = np.random.default_rng(0)
    differ = [faster_matrix(1 + 0.1 * rng.random((10, 12))).any() for _ in range(400)]
    assert np.mean(differ) < 0.05


def test_a_tie_is_a_win_for_nobody():
    assert not faster_matrix([[1.0] * 12, [1.0] * 12]).any()
    assert not faster_matrix([[1.0] * 12, [1.0] * 3 + [2.0] * 9]).any()


def test_five_rounds_are_too_few():
    assert not faster_matrix([[1.0] * 5, [2.0] * 5]).any()


def test_a_trend_of_every_order_of_four_is_counted():
    """24 orders; those without a falling pair: one, with one: three. Two-sided, 2/24 and 8/24."""
    assert trend_p_value([1, 2, 3, 4]) == pytest.approx(2 / 24)
    assert trend_p_value([4, 3, 2, 1]) == pytest.approx(2 / 24)
    assert trend_p_value([2, 1, 3, 4]) == pytest.approx(8 / 24)
    assert trend_p_value([1.0]) == 1.0


@pytest.mark.parametrize("rounds", [2, 5, 12, 20])
def test_the_trend_is_kendalls_exact_test(rounds):
    rng = np.random.default_rng(rounds)
    for samples in rng.normal(size=(10, rounds)):
        expected = stats.kendalltau(np.arange(rounds), samples, method="exact").pvalue
        assert trend_p_value(samples) == pytest.approx(expected)


def test_ties_are_no_trend():
    assert trend_p_value([3.0] * 12) == pytest.approx(1.0)
