"""pareto_places on differences that can be drawn on paper."""

import numpy as np

from moebench.statistics import pareto_places


def measure(names, *pairs):
    """better_NN of one measure from the pairs (better, worse)."""
    matrix = np.zeros((len(names), len(names)), dtype=bool)
    for better, worse in pairs:
        matrix[names.index(better), names.index(worse)] = True
    return matrix


def nowhere_equal(names):
    return np.zeros((2, len(names), len(names)), dtype=bool)


def test_who_is_clearly_worse_in_everything_is_beaten_and_who_beats_is_safe():
    better = np.stack([measure("ab", "ab"), measure("ab", "ab")])
    assert pareto_places("ab", better, nowhere_equal("ab")) == {"a": "front", "b": "beaten"}


def test_better_in_one_and_worse_in_the_other_are_both_on_the_front():
    better = np.stack([measure("ab", "ab"), measure("ab", "ba")])
    assert pareto_places("ab", better, nowhere_equal("ab")) == {"a": "front", "b": "front"}


def test_where_a_difference_is_not_certain_the_loser_is_undecided():
    # b is clearly slower, but its accuracy is not told from a's: it may be on the front or not.
    better = np.stack([measure("ab"), measure("ab", "ab")])
    assert pareto_places("ab", better, nowhere_equal("ab")) == {"a": "front", "b": "undecided"}


def test_equal_in_one_measure_and_worse_in_the_other_is_beaten():
    equal = np.stack([np.zeros((2, 2), bool), np.ones((2, 2), bool)])
    better = np.stack([measure("ab", "ab"), measure("ab")])
    assert pareto_places("ab", better, equal) == {"a": "front", "b": "beaten"}


def test_twins_do_not_beat_each_other_and_one_row_is_safe():
    equal = np.ones((2, 2, 2), bool)
    assert pareto_places("ab", np.zeros((2, 2, 2), bool), equal) == {"a": "front", "b": "front"}
    assert pareto_places("a", np.zeros((2, 1, 1), bool), np.zeros((2, 1, 1), bool)) == {"a": "front"}


def test_a_third_row_can_leave_both_undecided():
    # c is told from nobody in anything, so that nobody is certain; a still beats b.
    better = np.stack([measure("abc", "ab"), measure("abc", "ab")])
    assert pareto_places("abc", better, nowhere_equal("abc")) == {"a": "undecided", "b": "beaten", "c": "undecided"}
