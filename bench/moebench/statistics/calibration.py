"""Whether the board's intervals and ranks do what they say, counted over simulated boards of equals.

Scores are normal, independent between seeds and tasks; all rows of a simulated board have the same true mean, so that
an interval of a difference should hold 0, and whoever is called better is called so by mistake.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from moebench.statistics.intervals import check_share, satterthwaite

BOARDS = 20_000
"""Simulated pairs: a share near 0.95 then has a standard error of 0.0015."""

MOST_ROWS = 12
"""A board of more rows is simulated with so many: the pairs grow with their square, what is learnt does not."""


@dataclass(frozen=True)
class Calibration:
    """What came of boards with so many ``seeds``, ``tasks`` and ranked ``rows``, all shares from 0 to 1.

    coverage: nominal intervals of a difference that hold the true one. false_better: a row that is called better than
    itself under another name. told_apart: rankings of equal rows, at one budget, in which any two are told apart.
    anything: boards of equal rows that say anything at all of two of them, over all ``budgets``, of which each has its
    own adjustment, and against the reference rows, which have theirs.
    """

    seeds: int
    tasks: int
    rows: int
    references: int
    budgets: int
    coverage: float
    false_better: float
    told_apart: float
    anything: float


def calibrate(
    spread_M: ArrayLike,
    seeds: int,
    rows: int,
    *,
    references: int = 0,
    budgets: int = 1,
    level: float = 0.95,
    boards: int = BOARDS,
) -> Calibration:
    """Simulate. ``spread_M``: standard deviation of a score over seeds on each task; only their ratios matter.

    rows: that are ranked. references: rows that each of these is set against. budgets: alike and independent.
    ValueError for fewer than two seeds: one has no interval.
    """
    check_share(level, "level")
    spread = np.asarray(spread_M, dtype=np.float64)
    if spread.ndim != 1 or not spread.size or not (spread > 0).all():
        raise ValueError(f"spread_M is {spread.tolist()}; it must be a list of positive numbers, one a task")
    if seeds < 2:
        raise ValueError(f"seeds is {seeds}; one seed has no interval, so there is nothing to count")
    rows, references = min(rows, MOST_ROWS), min(references, MOST_ROWS)
    rng = np.random.default_rng([seeds, len(spread), rows])
    t_X, p_X = _tests(rng.normal(size=(boards, seeds, len(spread))) * spread)
    told_X, against_X = _wrong(rng, spread, seeds, (rows, references), 1 - level, boards // 5)
    return Calibration(
        seeds=seeds,
        tasks=len(spread),
        rows=rows,
        references=references,
        budgets=budgets,
        coverage=float(np.mean(p_X >= 1 - level)),
        false_better=float(np.mean((p_X < 1 - level) & (t_X > 0))),
        told_apart=float(np.mean(told_X)),
        anything=float(1 - (1 - np.mean(told_X | against_X)) ** budgets),
    )


def _wrong(
    rng: np.random.Generator,
    spread_M: NDArray[np.float64],
    seeds: int,
    sizes: tuple[int, int],
    alpha: float,
    boards: int,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which boards of equals tell two of their ranked rows apart, and which tell one from a reference row.

    sizes: how many rows are ranked, how many are references.
    """
    rows, references = sizes
    scores_RXSM = rng.normal(size=(rows + references, boards, seeds, len(spread_M))) * spread_M
    pairs = list(combinations(range(rows), 2))
    beside = list(product(range(rows), range(rows, rows + references)))
    return _any_clear(scores_RXSM, pairs, alpha), _any_clear(scores_RXSM, beside, alpha)


def _any_clear(scores_RXSM: NDArray[np.float64], pairs: list[tuple[int, int]], alpha: float) -> NDArray[np.bool_]:
    """Boards on which the smallest of the pairs' p-values survives Holm's rule over them, which then any does."""
    smallest_X = np.ones(scores_RXSM.shape[1])
    for a, b in pairs:
        smallest_X = np.minimum(smallest_X, _tests(scores_RXSM[a] - scores_RXSM[b])[1])
    return smallest_X * max(1, len(pairs)) < alpha


def _tests(difference_XSM: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """t statistic and two-sided p-value (X,) of simulated differences, each as ``paired_test`` makes them of one."""
    from scipy import special

    standard_error_X, df_X = satterthwaite(difference_XSM.std(axis=1, ddof=1), difference_XSM.shape[1])
    t_X = difference_XSM.mean(axis=(1, 2)) / standard_error_X
    return t_X, 2 * special.stdtr(df_X, -np.abs(t_X))
