"""How much a ranking rests on which trials the tuning happened to make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

DRAWS = 2000
"""Resamples; a share of 0.5 is known to 0.02."""

SEED = 0


def rank_survival(
    scores: Mapping[str, float],
    validation: Mapping[str, Sequence[ArrayLike]],
    ranks: Mapping[str, tuple[int, int]],
    *,
    higher_is_better: bool = True,
    draws: int = DRAWS,
) -> dict[str, float]:
    """For each row, the share of resampled tunings in which its place stays inside its rank.

    A resampled tuning draws as many of a task's N trials as there are, with replacement, the same for all rows, for all
    share the design. The best of the drawn trials would have won; a row's score then changes by as much as its best
    validation score does, averaged over tasks. Its place among the rows follows; rows with equal scores share places.

    scores: name -> mean test score. validation: name -> for each task, (N trials,) validation scores, in the unit of
    the test score. ranks: name -> (first, last) place that is printed.
    """
    names, score_RD = list(scores), _resampled(scores, validation, higher_is_better, draws)
    first_RD, last_RD = _places(score_RD)
    return {
        name: float(((first <= ranks[name][1]) & (last >= ranks[name][0])).mean())
        for name, first, last in zip(names, first_RD, last_RD, strict=True)
    }


def order_turns(
    scores: Mapping[str, float],
    validation: Mapping[str, Sequence[ArrayLike]],
    *,
    higher_is_better: bool = True,
    draws: int = DRAWS,
) -> dict[str, float]:
    """For each row but the last in the order of the scores, the share of resampled tunings in which the next row is
    better; resampled as by :func:`rank_survival`, whose arguments these are.
    """
    score_RD = _resampled(scores, validation, higher_is_better, draws)
    names = list(scores)
    order = sorted(range(len(names)), key=lambda row: scores[names[row]], reverse=higher_is_better)
    return {names[a]: float((score_RD[a] < score_RD[b]).mean()) for a, b in pairwise(order)}


def _places(score_RD: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """(first, last) place of each row in each column, from the largest: rows with equal scores share places."""
    order_RD = np.argsort(-score_RD, axis=0, kind="stable")
    sorted_RD = np.take_along_axis(score_RD, order_RD, axis=0)
    place_R1 = np.arange(len(score_RD))[:, None]
    begins_RD = np.ones(score_RD.shape, dtype=bool)  # a run of equal scores
    begins_RD[1:] = sorted_RD[1:] != sorted_RD[:-1]
    ends_RD = np.roll(begins_RD, -1, axis=0)
    first_RD = np.maximum.accumulate(np.where(begins_RD, place_R1, 0), axis=0)
    last_RD = np.minimum.accumulate(np.where(ends_RD, place_R1, len(score_RD))[::-1], axis=0)[::-1]
    found = np.empty_like(order_RD), np.empty_like(order_RD)
    for places_RD, of_sorted_RD in zip(found, (first_RD, last_RD), strict=True):
        np.put_along_axis(places_RD, order_RD, 1 + of_sorted_RD, axis=0)
    return found


def _resampled(
    scores: Mapping[str, float], validation: Mapping[str, Sequence[ArrayLike]], higher_is_better: bool, draws: int
) -> NDArray[np.float64]:
    """Scores of R rows in D resampled tunings, more is better."""
    sign = 1.0 if higher_is_better else -1.0
    names, random = list(scores), np.random.default_rng(SEED)
    final_R = sign * np.array([scores[name] for name in names], dtype=np.float64)
    tasks = len(validation[names[0]]) if names else 0
    loss_RD = np.zeros((len(names), draws))
    for task in range(tasks):
        value_RN = sign * np.array([validation[name][task] for name in names], dtype=np.float64)
        drawn_DN = random.integers(value_RN.shape[1], size=(draws, value_RN.shape[1]))
        loss_RD += (value_RN.max(axis=1)[:, None] - value_RN[:, drawn_DN].max(axis=2)) / tasks
    equal_stay_equal: NDArray[np.float64] = np.round(final_R[:, None] - loss_RD, 12)
    return equal_stay_equal
