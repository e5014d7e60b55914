"""Intervals and t tests of means, paired and Welch's: matrices worked by hand, and scipy where it has the test."""

import doctest
import json
import subprocess
import sys
from dataclasses import asdict
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from moebench.statistics import mean_interval, paired_interval, paired_test, welch_interval, welch_test
from moebench.statistics.comparisons import welch_tests

# Quantiles of Student's t with 2 degrees of freedom are closed: (2p - 1) / sqrt(2p (1 - p)).
T2_975 = 0.95 / sqrt(2 * 0.975 * 0.025)  # 4.3027

# Differences (1, 2, 3) on the first task and (0, 3, 6) on the second: means 2 and 3, variances 1 and 9.
A_SM = np.array([[11.0, 20.0], [13.0, 24.0], [15.0, 28.0]])
B_SM = np.array([[10.0, 20.0], [11.0, 21.0], [12.0, 22.0]])


def test_one_task_by_hand():
    # mean 2, variance 1, so the error is sqrt(1 / 3), t = 2 sqrt(3), df = 2 and p = 1 - t / sqrt(t^2 + 2).
    difference, error, df, p = paired_test(A_SM[:, :1], B_SM[:, :1])
    assert (difference, df) == (2, pytest.approx(2))
    assert error == pytest.approx(sqrt(1 / 3))
    assert p == pytest.approx(1 - sqrt(12 / 14))
    interval = paired_interval(A_SM[:, :1], B_SM[:, :1])
    assert (interval.low, interval.high) == pytest.approx((2 - T2_975 * error, 2 + T2_975 * error))
    assert interval.coverage == 0.95


def test_two_tasks_by_hand():
    # mean (2 + 3) / 2; V = (1 + 9) / 3 / 2^2 = 10 / 12; df = (1 + 9)^2 / ((1 + 81) / 2) = 100 / 41.
    difference, error, df, _ = paired_test(A_SM, B_SM)
    assert (difference, error, df) == pytest.approx((2.5, sqrt(10 / 12), 100 / 41))


def test_mean_by_hand():
    # B: means 11 and 21, both variances 1; V = (1 + 1) / 3 / 4 = 1 / 6; df = 2^2 / (2 / 2) = 4.
    interval = mean_interval(B_SM)
    half = stats.t.ppf(0.975, 4) * sqrt(1 / 6)
    assert (interval.value, interval.low, interval.high) == pytest.approx((16, 16 - half, 16 + half))


def test_welch_by_hand():
    # Means 13 and 11, variances 4 and 1: V = (4 + 1) / 3, df = (4 + 1)^2 / ((16 + 1) / 2) = 50 / 17.
    difference, error, df, _ = welch_test(A_SM[:, :1], B_SM[:, :1])
    assert (difference, error, df) == pytest.approx((2, sqrt(5 / 3), 50 / 17))
    interval = welch_interval(A_SM[:, :1], B_SM[:, :1])
    half = stats.t.ppf(0.975, 50 / 17) * sqrt(5 / 3)
    assert (interval.value, interval.low, interval.high) == pytest.approx((2, 2 - half, 2 + half))


def test_welch_on_two_tasks_by_hand():
    # Variances 4 and 16 of A, 1 and 1 of B: V = 22 / 3 / 2^2, df = 22^2 / ((16 + 256 + 1 + 1) / 2).
    difference, error, df, _ = welch_test(A_SM, B_SM)
    assert (difference, error, df) == pytest.approx((2.5, sqrt(22 / 12), 22**2 / 137))


@pytest.mark.parametrize("seeds", [2, 3, 5, 8, 50])
def test_one_task_is_scipys_welch_test(seeds):
    rng = np.random.default_rng(seeds)
    a, b = rng.normal(0.9, 0.02, (seeds, 1)), rng.normal(0.91, 0.06, (seeds, 1))
    theirs = stats.ttest_ind(a[:, 0], b[:, 0], equal_var=False)
    ours, interval = welch_test(a, b), welch_interval(a, b, 0.9)
    assert (ours.p_value, ours.df) == pytest.approx((theirs.pvalue, theirs.df))
    assert (interval.low, interval.high) == pytest.approx(tuple(theirs.confidence_interval(0.9)))


def test_welch_asks_for_no_order_of_seeds():
    assert welch_test(A_SM[::-1], B_SM) == pytest.approx(welch_test(A_SM, B_SM))
    assert paired_test(A_SM[::-1], B_SM) != pytest.approx(paired_test(A_SM, B_SM))


def test_welch_without_any_spread_has_no_bounds():
    flat = np.array([[0.5], [0.5], [0.5]])
    assert welch_test(flat + 0.1, flat) == (pytest.approx(0.1), None, None, 1)
    assert no_bounds(welch_interval(flat + 0.1, flat), 0.1)
    # One that spreads leaves the error to itself: V = 1 / 3 with 2 degrees of freedom.
    assert welch_test(B_SM[:, :1], 0 * flat)[:3] == pytest.approx((11, sqrt(1 / 3), 2))


@pytest.mark.parametrize("seeds", [2, 3, 5, 8, 50])
def test_one_task_is_scipys_paired_t_test(seeds):
    rng = np.random.default_rng(seeds)
    a, b = rng.normal(0.9, 0.02, (seeds, 1)), rng.normal(0.91, 0.03, (seeds, 1))
    theirs = stats.ttest_rel(a[:, 0], b[:, 0])
    ours, interval = paired_test(a, b), paired_interval(a, b, 0.9)
    assert ours.p_value == pytest.approx(theirs.pvalue)
    assert ours.df == pytest.approx(theirs.df)
    assert (interval.low, interval.high) == pytest.approx(tuple(theirs.confidence_interval(0.9)))
    mean = mean_interval(a)
    assert (mean.low, mean.high) == pytest.approx(stats.t.interval(0.95, seeds - 1, a.mean(), stats.sem(a[:, 0])))


@pytest.mark.parametrize("seed", range(5))
def test_two_tasks_are_welchs_t_test(seed):
    # The sum of two tasks' means is the difference of the first and of minus the second: Welch's statistic.
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(6, 2)), rng.normal(size=(6, 2)) * [1, 4]
    theirs = stats.ttest_ind((a - b)[:, 0], -(a - b)[:, 1], equal_var=False)
    ours = paired_test(a, b)
    assert (ours.p_value, ours.df) == pytest.approx((theirs.pvalue, theirs.df))


def test_df_lies_between_one_task_and_all_tasks():
    equal = np.tile([[1.0], [2.0], [4.0]], 4)
    assert paired_test(equal, np.zeros_like(equal)).df == pytest.approx(4 * 2)
    one_task_varies = equal * [1, 0, 0, 0]
    assert paired_test(one_task_varies, np.zeros_like(equal)).df == pytest.approx(2)


def test_interval_and_test_agree_on_zero():
    rng = np.random.default_rng(0)
    for _ in range(200):
        a, b = rng.normal(0.8, 1, (4, 2)), rng.normal(0, 1, (4, 2))
        interval = paired_interval(a, b, 0.9)
        assert (interval.low > 0 or interval.high < 0) == (paired_test(a, b).p_value < 0.1)


def test_seed_effects_common_to_both_cancel():
    common = np.array([[0.0], [50.0], [-70.0]])
    assert paired_test(A_SM + common, B_SM + common) == pytest.approx(paired_test(A_SM, B_SM))


def test_tiny_spread_does_not_underflow():
    a = np.array([[1e-100], [2e-100], [3e-100]])
    assert paired_test(a, np.zeros_like(a)).df == pytest.approx(2)


def no_bounds(interval, value):
    return asdict(interval) == {"value": pytest.approx(value), "low": None, "high": None, "coverage": None}


def test_equal_scores_do_not_differ():
    assert paired_test(A_SM, A_SM) == (0, None, None, 1)
    assert no_bounds(paired_interval(A_SM, A_SM), 0)


def test_a_constant_difference_is_no_certainty():
    # Accuracies in 360ths at three seeds: every difference is 2 / 360, so no spread is measured at all.
    b = np.array([[340], [344], [351]]) / 360
    a = np.array([[342], [346], [353]]) / 360
    assert paired_test(a, b) == (pytest.approx(2 / 360), None, None, 1)
    assert no_bounds(paired_interval(a, b), 2 / 360)


def test_rounding_is_not_spread():
    a, b = np.array([[0.95], [0.96], [0.97]]), np.array([[0.93], [0.94], [0.95]])
    assert (a - b).std() > 0, "the case needs differences that are equal only up to rounding"
    assert paired_test(a, b).p_value == 1
    assert no_bounds(paired_interval(a, b), 0.02)


def test_rounding_is_measured_on_the_scores_not_on_their_difference():
    b = np.array([[10.2], [1e6 + 0.4], [1e6 + 0.7]])
    a = b + 0.1
    assert (a - b).std() > 1e-11, "the case needs rounding that is large against the difference"
    assert paired_test(a, b).p_value == 1


def test_a_task_without_spread_leaves_the_error_to_the_others():
    # Differences (1, 1, 1) and (1, 2, 3): mean 1.5, V = (0 + 1) / 3 / 4, df = 1 / (1 / 2).
    d = np.array([[1.0, 1.0], [1.0, 2.0], [1.0, 3.0]])
    assert paired_test(d, np.zeros_like(d))[:3] == pytest.approx((1.5, sqrt(1 / 12), 2))


def test_one_seed_has_no_interval():
    a, b = np.array([[0.9, 0.8]]), np.array([[0.5, 0.2]])
    assert paired_test(a, b) == (pytest.approx(0.5), None, None, 1)
    assert no_bounds(paired_interval(a, b), 0.5)
    assert no_bounds(mean_interval(a), 0.85)


def test_seeds_all_alike_give_a_mean_without_bounds():
    assert no_bounds(mean_interval([[0.1], [0.1], [0.1]]), 0.1)


@pytest.mark.parametrize("scores", [A_SM, A_SM[:1]])
def test_results_are_plain_json(scores):
    for result in (mean_interval(scores), paired_interval(scores, scores * 0.5)):
        json.dumps(asdict(result), allow_nan=False)
    test = paired_test(scores, scores * 0.5)
    assert all(value is None or type(value) is float for value in test)


def test_arguments_are_left_alone():
    a, b = A_SM.copy(), B_SM.copy()
    paired_interval(a, b)
    assert np.array_equal(a, A_SM)
    assert np.array_equal(b, B_SM)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([0.9, 0.8], [0.9, 0.8], r"a_SM has shape \(2,\); it must be \(seeds, tasks\)"),
        (np.ones((3, 2)), np.ones((3, 1)), r"a_SM has shape \(3, 2\) and b_SM \(3, 1\); pairs need"),
        (np.ones((0, 2)), np.ones((0, 2)), r"a_SM has shape \(0, 2\)"),
        ([[0.9]], [[np.nan]], "b_SM holds NaN or infinity"),
    ],
)
def test_a_wrong_matrix_is_named(a, b, message):
    with pytest.raises(ValueError, match=message):
        paired_test(a, b)


def test_importing_the_statistics_loads_no_heavy_library():
    heavy = "{'scipy', 'torch', 'pandas', 'mlflow'}"
    code = f"import sys, moebench.statistics; print(*({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_many_pairs_at_once_are_the_pairs_one_by_one():
    scores = np.random.default_rng(3).normal(0.9, 0.01, (4, 5, 2))
    scores[2], scores[3] = 0.5, 0.75  # without spread, so nothing is told
    scores[1, :, 1] = scores[1, 0, 1]  # without spread on one task
    first, second = np.triu_indices(4, 1)
    differences, p_values = welch_tests(scores, first, second)
    for a, b, difference, p in zip(first, second, differences, p_values, strict=True):
        alone = welch_test(scores[a], scores[b])
        assert difference == pytest.approx(alone.difference, abs=1e-15)
        assert p == pytest.approx(alone.p_value, rel=1e-12)
    assert p_values[-1] == 1
    assert welch_tests(scores[:, :1], first, second)[1].tolist() == [1.0] * 6


def test_the_example_of_the_docs_shows_true_numbers():
    page = Path(__file__).parents[1] / "docs" / "statistics.md"
    result = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert result.attempted >= 9
    assert result.failed == 0
