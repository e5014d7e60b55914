"""Whether the board's intervals and ranks do what they say, counted over simulated boards of equals.

Scores are normal, independent between seeds and tasks; all rows of a simulated board have the same true mean, so that
an interval of a difference should hold 0, and whoever is called better is called so by mistake.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from moebench.board.statistics.interval import check_share
from moebench.board.statistics.means import satterthwaite

BOARDS = 20_000
"""Simulated pairs: a share near 0.95 then has a standard error of 0.0015."""

MOST_ROWS = 12
"""A board of more rows is simulated with so many: the pairs grow with their square, what is learnt does not."""


@dataclass(frozen=True)
class Calibration:
    """What came of boards with so many ``seeds``, ``tasks`` and ``rows``, all shares from 0 to 1.

    coverage: nominal intervals of a difference that hold the true one. false_better: a row that is called better than
    itself under another name. told_apart: boards of equal rows on which any two are told apart.
    """

    seeds: int
    tasks: int
    rows: int
    coverage: float
    false_better: float
    told_apart: float


def calibrate(spread_M: ArrayLike, seeds: int, rows: int, *, level: float = 0.95, boards: int = BOARDS) -> Calibration:
    """Simulate. ``spread_M``: standard deviation of a score over seeds on each task; only their ratios matter.

    ValueError for fewer than two seeds: one has no interval.
    """
    check_share(level, "level")
    spread = np.asarray(spread_M, dtype=np.float64)
    if spread.ndim != 1 or not spread.size or not (spread > 0).all():
        raise ValueError(f"spread_M is {spread.tolist()}; it must be a list of positive numbers, one a task")
    if seeds < 2:
        raise ValueError(f"seeds is {seeds}; one seed has no interval, so there is nothing to count")
    rows = min(rows, MOST_ROWS)
    rng = np.random.default_rng([seeds, len(spread), rows])
    t_X, p_X = _tests(rng.normal(size=(boards, seeds, len(spread))) * spread)
    return Calibration(
        seeds=seeds,
        tasks=len(spread),
        rows=rows,
        coverage=float(np.mean(p_X >= 1 - level)),
        false_better=float(np.mean((p_X < 1 - level) & (t_X > 0))),
        told_apart=_told_apart(rng, spread, seeds, rows, 1 - level, boards // 5),
    )


def _told_apart(
    rng: np.random.Generator, spread_M: NDArray[np.float64], seeds: int, rows: int, alpha: float, boards: int
) -> float:
    """The share of boards on which the smallest of all pairs' p-values survives Holm's rule, which then any does."""
    if rows < 2:
        return 0.0
    scores_RXSM = rng.normal(size=(rows, boards, seeds, len(spread_M))) * spread_M
    pairs = list(combinations(range(rows), 2))
    smallest_X = np.ones(boards)
    for a, b in pairs:
        smallest_X = np.minimum(smallest_X, _tests(scores_RXSM[a] - scores_RXSM[b])[1])
    return float(np.mean(smallest_X * len(pairs) < alpha))


def _tests(difference_XSM: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """t statistic and two-sided p-value (X,) of simulated differences: what ``means.paired_test`` does to one."""
    from scipy import special

    standard_error_X, df_X = satterthwaite(difference_XSM.std(axis=1, ddof=1), difference_XSM.shape[1])
    t_X = difference_XSM.mean(axis=(1, 2)) / standard_error_X
    return t_X, 2 * special.stdtr(df_X, -np.abs(t_X))
