"""Seeds that a difference needs: against scipy's noncentral t, by simulation, and at the ends."""

import numpy as np
import pytest
from scipy import stats

from moebench.statistics import pooled_spread, power_of
from moebench.statistics.power import MOST_SEEDS, POWER, seeds_needed, seeds_to_exclude


@pytest.mark.parametrize("alpha", [0.05, 0.05 / 45])
def test_one_task_is_the_textbooks_noncentral_t(alpha):
    # Two groups of n, standard deviation 2, difference 1.5: noncentrality 1.5 / (2 sqrt(2 / n)), df = 2 (n - 1).
    def power(n):
        df, shift = 2 * (n - 1), 1.5 / (2 * np.sqrt(2 / n))
        least = stats.t.ppf(1 - alpha / 2, df)
        return stats.nct.sf(least, df, shift) + stats.nct.cdf(-least, df, shift)

    n = seeds_needed(1.5, [2.0], alpha)
    assert power(n - 1) < POWER <= power(n)


def test_so_many_seeds_find_it_in_four_of_five_boards():
    n = seeds_needed(1.0, [1.0], 0.05)
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(20_000, n)), rng.normal(1.0, 1.0, size=(20_000, n))
    assert np.mean(stats.ttest_ind(a, b, axis=1, equal_var=False).pvalue < 0.05) == pytest.approx(POWER, abs=0.02)


def test_half_a_point_on_two_tasks_like_those_of_the_published_boards():
    found = power_of(0.005, [0.0024, 0.0062], pairs=45)
    assert (found.seeds, found.seeds_alone) == (18, 8)


def test_tasks_alike_need_as_many_as_one_of_less_spread():
    # A mean over four tasks of spread 2 has the spread 2 / sqrt(4) = 1; its degrees of freedom are four times as many.
    assert seeds_needed(0.5, [2.0] * 4, 0.05) in (seeds_needed(0.5, [1.0], 0.05), seeds_needed(0.5, [1.0], 0.05) - 1)


def test_the_pooled_spread_by_hand():
    # Variances 1 and 4 on the first task, 0 and 9 on the second, where rounding is none.
    scores = [[[1, 0.1 + 0.2], [2, 0.3], [3, 0.3]], [[2, 3], [4, 6], [6, 9]]]
    assert pooled_spread(scores) == pytest.approx([np.sqrt(2.5), np.sqrt(4.5)])
    assert pooled_spread([[[0.5], [0.5]], [[0.7], [0.7]]]).tolist() == [0.0]
    assert pooled_spread([[[0.5]]]).tolist() == [0.0], "one seed"


def test_what_no_number_of_seeds_finds_has_none():
    assert power_of(1e-6, [1.0], pairs=3).seeds is None
    assert seeds_needed(1e-6, [1.0], 0.05) is None
    assert seeds_needed(1e6, [1.0], 0.05) == 2
    assert MOST_SEEDS >= 1000


def test_so_many_seeds_exclude_the_value_in_four_of_five_intervals():
    """Of 4 seeds of spread 2 the interval is 3.18 to each side; the value is 1 from its middle."""
    half_width = float(stats.t.ppf(0.975, 3)) * 2 / 4**0.5
    n = seeds_to_exclude(1.0, half_width, 4)
    scores = np.random.default_rng(0).normal(1.0, 2.0, size=(20_000, n))
    assert np.mean(stats.ttest_1samp(scores, 0.0, axis=1).pvalue < 0.05) == pytest.approx(POWER, abs=0.02)
    assert seeds_to_exclude(1e-4, half_width, 4) is None
