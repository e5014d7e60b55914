"""How often a rank survives resampled tunings: cases done by hand."""

import numpy as np
import pytest

from moebench.statistics import order_turns, rank_survival
from moebench.statistics.resampling import _places


def close(found, wanted):
    assert found == pytest.approx(wanted, abs=0.03)


def test_one_good_trial_of_two_is_missed_by_a_quarter_of_the_resamples():
    """Indices 00, 01, 10, 11 are equally likely; the last leaves a with 0.5, which drops it by 0.4, below b."""
    scores, ranks = {"a": 0.9, "b": 0.8}, {"a": (1, 1), "b": (2, 2)}
    close(rank_survival(scores, {"a": [[0.9, 0.5]], "b": [[0.8, 0.8]]}, ranks), {"a": 0.75, "b": 0.75})


def test_rows_that_rise_and_fall_together_keep_their_ranks():
    """The trials that are drawn are the same for all rows, as they share the design."""
    scores, ranks = {"a": 0.9, "b": 0.8}, {"a": (1, 1), "b": (2, 2)}
    close(rank_survival(scores, {"a": [[0.9, 0.5]], "b": [[0.8, 0.4]]}, ranks), {"a": 1.0, "b": 1.0})


def test_equal_trials_change_nothing_and_a_wide_rank_always_survives():
    close(
        rank_survival({"a": 0.9, "b": 0.8}, {"a": [[0.9] * 4], "b": [[0.7] * 4]}, {"a": (1, 1), "b": (2, 2)}),
        {"a": 1, "b": 1},
    )
    close(
        rank_survival({"a": 0.9, "b": 0.8}, {"a": [[0.9, 0.1]], "b": [[0.7, 0.7]]}, {"a": (1, 2), "b": (1, 2)}),
        {"a": 1, "b": 1},
    )


def test_a_drop_to_the_same_score_shares_the_place():
    """0.9 - 0.1 is 0.8: the two rows then share the places 1 and 2."""
    close(
        rank_survival({"a": 0.9, "b": 0.8}, {"a": [[0.6, 0.5]], "b": [[0.8, 0.8]]}, {"a": (1, 1), "b": (2, 2)}),
        {"a": 1, "b": 1},
    )


def test_of_four_trials_the_best_is_drawn_with_chance_1_less_three_quarters_to_the_fourth():
    scores, ranks = {"a": 0.9, "b": 0.8}, {"a": (1, 1), "b": (2, 2)}
    close(
        rank_survival(scores, {"a": [[0.9, 0.5, 0.5, 0.5]], "b": [[0.8] * 4]}, ranks),
        {"a": 1 - 0.75**4, "b": 1 - 0.75**4},
    )


def test_a_change_on_one_of_two_tasks_counts_by_half_and_tasks_are_drawn_apart():
    """a leads by 0.1. Missing the good trial costs 0.16 / 2 on each task: one miss keeps the lead, two lose it."""
    scores, ranks = {"a": 0.9, "b": 0.8}, {"a": (1, 1), "b": (2, 2)}
    found = rank_survival(scores, {"a": [[0.9, 0.74]] * 2, "b": [[0.8, 0.8]] * 2}, ranks)
    close(found, {"a": 1 - 1 / 16, "b": 1 - 1 / 16})


def test_of_an_error_less_is_better():
    scores, ranks = {"a": 1.0, "b": 2.0}, {"a": (1, 1), "b": (2, 2)}
    close(
        rank_survival(scores, {"a": [[1.0, 5.0]], "b": [[2.0, 2.0]]}, ranks, higher_is_better=False),
        {"a": 0.75, "b": 0.75},
    )


def test_it_is_the_same_every_time_and_of_nothing_there_is_nothing():
    case = ({"a": 0.9, "b": 0.8}, {"a": [[0.9, 0.5]], "b": [[0.8, 0.8]]}, {"a": (1, 1), "b": (2, 2)})
    assert rank_survival(*case) == rank_survival(*case)
    assert rank_survival({}, {}, {}) == {}


def test_the_order_of_two_rows_turns_round_where_the_better_one_loses_its_trial():
    trials = {"a": [[0.9, 0.5]], "b": [[0.8, 0.8]], "c": [[0.1, 0.1]]}
    close(order_turns({"b": 0.8, "a": 0.9, "c": 0.1}, trials), {"a": 0.25, "b": 0.0})
    losses = {"a": [[0.1, 0.5]], "b": [[0.2, 0.2]]}
    close(order_turns({"a": 0.1, "b": 0.2}, losses, higher_is_better=False), {"a": 0.25})
    assert order_turns({}, {}) == {}


@pytest.mark.parametrize(("rows", "columns"), [(1, 3), (2, 5), (40, 100)])
def test_rows_with_equal_scores_share_the_places_between_those_above_and_below(rows, columns):
    score_RD = np.random.default_rng(0).integers(0, 6, size=(rows, columns)).astype(float)
    first_RD, last_RD = _places(score_RD)
    above_RD = (score_RD[None] > score_RD[:, None]).sum(1)
    below_RD = (score_RD[None] < score_RD[:, None]).sum(1)
    assert (first_RD == 1 + above_RD).all()
    assert (last_RD == rows - below_RD).all()
