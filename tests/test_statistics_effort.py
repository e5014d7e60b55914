"""expected_best against every subset, counted out."""

from itertools import combinations
from statistics import fmean

import pytest

from moebench.statistics import expected_best, expected_best_curve

SCORES = [0.7, 0.2, 0.9, 0.7, 0.4]


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
@pytest.mark.parametrize(("higher", "best"), [(True, max), (False, min)])
def test_it_is_the_mean_over_all_subsets(n, higher, best):
    expected = fmean(best(subset) for subset in combinations(SCORES, n))
    assert expected_best(SCORES, n, higher_is_better=higher) == pytest.approx(expected)


def test_expected_best_by_hand():
    # Scores 1 2 3, two trials. Subsets 12 13 23: (2 + 3 + 3) / 3.
    assert expected_best([2, 3, 1], 2) == pytest.approx(8 / 3)


def test_curve_goes_from_the_mean_to_the_best_found():
    curve = expected_best_curve(SCORES)
    assert (curve[0], curve[-1]) == pytest.approx((fmean(SCORES), 0.9))
    assert list(curve) == sorted(curve)
    assert expected_best_curve(SCORES, higher_is_better=False)[-1] == pytest.approx(0.2)


def test_many_trials_do_not_overflow():
    # Coefficients of 1100 exceed every float. Mean best of n of the numbers 1 ... N: n (N + 1) / (n + 1).
    assert expected_best(range(1, 1101), 550) == pytest.approx(550 * 1101 / 551)


def test_the_curve_of_no_trials_is_empty():
    assert expected_best_curve([]) == ()
