"""holm, better_matrix and rank_intervals against numbers worked by hand."""

from itertools import permutations

import numpy as np
import pytest

from moebench.statistics import better_matrix, holm, rank_intervals, welch_test

# Seeds x 1 task. Differences to `good` have mean 10 (bad) and 0 (same), with a spread of about 1.
NOISE = np.array([[0.1], [-0.1], [0.05], [-0.05], [0.0]])
GOOD = np.array([[50.0], [50.5], [51.0], [51.5], [52.0]])
SCORES = {"bad": GOOD - 10 + NOISE, "good": GOOD, "same": GOOD + NOISE[::-1]}


def test_holm_by_hand():
    # Sorted 0.01 0.02 0.03 0.04 times 4 3 2 1: 0.04 0.06 0.06 0.04; the last may not fall below 0.06.
    assert holm([0.01, 0.04, 0.03, 0.02]) == pytest.approx((0.04, 0.06, 0.06, 0.06))
    # 0.005 x 3 = 0.015; 0.011 x 2 = 0.022; 0.02 x 1 = 0.02, raised to 0.022.
    assert holm([0.02, 0.005, 0.011]) == pytest.approx((0.022, 0.015, 0.022))


def test_holm_is_capped_at_one():
    assert holm([0.6, 0.9, 1.0]) == (1, 1, 1)


def test_holm_of_none_or_one_changes_nothing():
    assert holm([]) == ()
    assert holm([0.03]) == (0.03,)


def test_holm_follows_the_order_given():
    p = (0.001, 0.02, 0.3, 0.013)
    expected = dict(zip(p, holm(p), strict=True))
    for shuffled in permutations(p):
        assert holm(shuffled) == tuple(expected[x] for x in shuffled)


def test_holm_rejects_what_the_step_down_rule_rejects():
    # The rule itself: from the smallest p on, reject while p_(i) < alpha / (n - i + 1), then stop for good.
    rng = np.random.default_rng(0)
    for _ in range(300):
        p, alpha = rng.beta(0.4, 4, 6), 0.05
        rejected = set()
        for i, place in enumerate(np.argsort(p)):
            if p[place] >= alpha / (6 - i):
                break
            rejected.add(int(place))
        assert {i for i, adjusted in enumerate(holm(p.tolist())) if adjusted < alpha} == rejected


def test_ranks_of_one_clear_loser_and_a_tie():
    # good and same are not told apart: ranks 1 to 2. Both beat bad: rank 3 alone.
    assert rank_intervals(SCORES, higher_is_better=True) == {"bad": (3, 3), "good": (1, 2), "same": (1, 2)}


def test_ranks_turn_when_smaller_is_better():
    # bad is now clearly best; the other two share ranks 2 to 3.
    assert rank_intervals(SCORES, higher_is_better=False) == {"bad": (1, 1), "good": (2, 3), "same": (2, 3)}


def test_the_better_row_is_the_first_index():
    def pairs(higher):
        names = list(SCORES)
        return {(names[a], names[b]) for a, b in zip(*better_matrix(SCORES, higher).nonzero(), strict=True)}

    assert pairs(True) == {("good", "bad"), ("same", "bad")}
    assert pairs(False) == {("bad", "good"), ("bad", "same")}


def test_ranks_depend_on_no_order():
    expected = rank_intervals(SCORES, higher_is_better=True)
    for names in permutations(SCORES):
        assert rank_intervals({name: SCORES[name] for name in names}, higher_is_better=True) == expected


def test_ranks_are_adjusted_for_all_pairs():
    # One pair alone at p = 0.03 is told apart; the same pair among four variants (six pairs) is not.
    base = np.array([[1.0], [2.0], [3.0], [4.0], [5.0]])
    step = base[::-1] + 2.7
    p = welch_test(step, base).p_value
    assert 0.05 / 6 < p < 0.05
    two = {"base": base, "step": step}
    assert rank_intervals(two, higher_is_better=True) == {"base": (2, 2), "step": (1, 1)}
    four = two | {"c": base + 1.2, "d": base + 1.4}
    assert set(rank_intervals(four, higher_is_better=True).values()) == {(1, 4)}


def test_ranks_at_a_stricter_alpha_are_wider():
    assert rank_intervals(SCORES, higher_is_better=True, alpha=1e-12) == dict.fromkeys(SCORES, (1, 3))


@pytest.mark.parametrize("seeds", [[0], [0, 0, 0]])
def test_ranks_without_spread_are_open(seeds):
    flat = {name: scores[seeds] for name, scores in SCORES.items()}  # one seed, or one score three times
    assert rank_intervals(flat, higher_is_better=True) == dict.fromkeys(SCORES, (1, 3))


def test_ranks_of_one_and_of_none():
    assert rank_intervals({"only": GOOD}, higher_is_better=True) == {"only": (1, 1)}
    assert rank_intervals({}, higher_is_better=True) == {}


def test_a_variant_that_lacks_a_seed_is_named():
    with pytest.raises(ValueError, match=r"good has shape \(5, 1\) and short \(4, 1\)"):
        rank_intervals({"good": GOOD, "short": GOOD[:4]}, higher_is_better=True)
