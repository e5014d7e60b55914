"""How many seeds a board needs to find a difference that matters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from moebench.statistics.intervals import Array, deviation, satterthwaite

POWER = 0.8
"""How often the difference is to be found."""

MOST_SEEDS = 1000
"""No more are tried."""


@dataclass(frozen=True)
class Power:
    """What it takes to find a ``difference`` of two rows, in the unit of the scores, in four of five boards.

    seeds: with Holm's rule over so many ``pairs``, where no pair differs more clearly. seeds_alone: of one pair without
    adjustment, as in the column "vs dense". None where more than :data:`MOST_SEEDS` are needed.
    """

    difference: float
    pairs: int
    seeds: int | None
    seeds_alone: int | None


def pooled_spread(scores_NSM: ArrayLike) -> Array:
    """Standard deviation over seeds on each task (M,), pooled over N variants; 0 where none shows any."""
    scores = np.asarray(scores_NSM, dtype=np.float64)
    deviation_NM = deviation(scores, np.abs(scores).max(axis=1))
    return np.asarray(np.sqrt((deviation_NM**2).mean(axis=0)))


def power_of(difference: float, spread_M: ArrayLike, pairs: int, alpha: float = 0.05) -> Power:
    """``spread_M``: standard deviation of a score over seeds on each task, at least one above zero, of both rows alike.
    ``difference``: of their means over the tasks, above zero.
    """
    return Power(
        difference=difference,
        pairs=pairs,
        seeds=seeds_needed(difference, spread_M, alpha / max(1, pairs)),
        seeds_alone=seeds_needed(difference, spread_M, alpha),
    )


def seeds_needed(difference: float, spread_M: ArrayLike, alpha: float) -> int | None:
    """The fewest seeds with which a two-sided Welch test at ``alpha`` finds the difference with :data:`POWER`, by the
    noncentral t distribution.
    """
    spread = np.asarray(spread_M, dtype=np.float64)
    seeds_S = np.arange(2.0, MOST_SEEDS + 1)
    error, df = satterthwaite(np.concatenate([spread, spread]), 2, len(spread))
    return _fewest(seeds_S, difference / (error * np.sqrt(2 / seeds_S)), df * (seeds_S - 1), alpha)


def seeds_to_exclude(distance: float, half_width: float, seeds: int, alpha: float = 0.05) -> int | None:
    """The fewest seeds with which a t interval excludes a value with :data:`POWER`, where that of ``seeds`` seeds, two
    or more, is ``half_width`` wide to each side and the value ``distance`` from its middle, above zero.
    """
    from scipy import special

    seeds_S = np.arange(2.0, MOST_SEEDS + 1)
    spread = half_width * seeds**0.5 / special.stdtrit(seeds - 1, 1 - alpha / 2)
    return _fewest(seeds_S, distance * np.sqrt(seeds_S) / spread, seeds_S - 1, alpha)


def _fewest(seeds_S: Array, shift_S: Array, df_S: Array, alpha: float) -> int | None:
    """The first of the numbers of seeds whose noncentral t, shifted so far, is outside the bounds often enough."""
    from scipy import special

    least_S = -special.stdtrit(df_S, alpha / 2)
    found_S = 1 - special.nctdtr(df_S, shift_S, least_S) + special.nctdtr(df_S, shift_S, -least_S)
    enough = np.flatnonzero(found_S >= POWER)
    return int(seeds_S[enough[0]]) if len(enough) else None
