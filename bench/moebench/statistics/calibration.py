"""Coverage and error rates of the board's intervals and ranks, counted over simulated boards of equal rows.

Scores are normal, independent between seeds and tasks. All rows of a simulated board have the same true mean, so every
significant difference is a false one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from moebench.statistics.intervals import Array, satterthwaite

ALPHA = 1 - 0.95

BOARDS = 20_000
"""Simulated pairs: a share near 0.95 then has a standard error of 0.0015."""

MOST_ROWS = 13
"""A larger board is simulated with so many rows: the pairs grow with their square, and the shares hardly change."""


@dataclass(frozen=True)
class Calibration:
    """What came of boards with so many ``seeds``, ``tasks`` and ranked ``rows``, all shares from 0 to 1.

    coverage: nominal intervals of a difference that hold the true one. false_better: a row that is called better than
    itself under another name. familywise_error: rankings of equal rows, at one budget, in which any two differ
    significantly. anything: boards of equal rows with any significant difference over all ``budgets``, where each has
    its own adjustment, or against the reference rows, which have theirs.
    """

    seeds: int
    tasks: int
    rows: int
    references: int
    budgets: int
    coverage: float
    false_better: float
    familywise_error: float
    anything: float


def calibrate(
    spread_M: ArrayLike, seeds: int, rows: int, *, references: int = 0, budgets: int = 1, boards: int = BOARDS
) -> Calibration:
    """Simulate. ``spread_M``: standard deviation of a score over seeds on each task; only their ratios matter.

    seeds: two or more. rows: that are ranked. references: rows that each of these is compared with. budgets: alike and
    independent.
    """
    spread = np.asarray(spread_M, dtype=np.float64)
    rows, references = min(rows, MOST_ROWS), min(references, MOST_ROWS)
    rng = np.random.default_rng([seeds, len(spread), rows])
    first_XSM, second_XSM = rng.normal(size=(2, boards, seeds, len(spread))) * spread
    t_X, p_X = _tests(first_XSM, second_XSM)
    scores_RXSM = rng.normal(size=(rows + references, boards // 5, seeds, len(spread))) * spread
    ranked_X = _any_significant(scores_RXSM, combinations(range(rows), 2))
    against_X = _any_significant(scores_RXSM, product(range(rows), range(rows, rows + references)))
    return Calibration(
        seeds=seeds,
        tasks=len(spread),
        rows=rows,
        references=references,
        budgets=budgets,
        coverage=float(np.mean(p_X >= ALPHA)),
        false_better=float(np.mean((p_X < ALPHA) & (t_X > 0))),
        familywise_error=float(np.mean(ranked_X)),
        anything=float(1 - (1 - np.mean(ranked_X | against_X)) ** budgets),
    )


def _any_significant(scores_RXSM: Array, pairs: Iterable[tuple[int, int]]) -> NDArray[np.bool_]:
    """Boards (X,) on which any of the pairs differs after Holm's rule: the one with the smallest p-value does then."""
    p_PX = np.array([_tests(scores_RXSM[a], scores_RXSM[b])[1] for a, b in pairs])
    if not len(p_PX):
        return np.zeros(scores_RXSM.shape[1], dtype=bool)
    smallest: NDArray[np.bool_] = p_PX.min(axis=0) * len(p_PX) < ALPHA
    return smallest


def _tests(a_XSM: Array, b_XSM: Array) -> tuple[Array, Array]:
    """t statistic and two-sided p-value (X,) of simulated differences, each as ``welch_test`` makes them of one."""
    from scipy import special

    deviation_XP = np.concatenate([a_XSM.std(axis=1, ddof=1), b_XSM.std(axis=1, ddof=1)], axis=-1)
    standard_error_X, df_X = satterthwaite(deviation_XP, *a_XSM.shape[1:])
    t_X = (a_XSM - b_XSM).mean(axis=(1, 2)) / standard_error_X
    return t_X, 2 * special.stdtr(df_X, -np.abs(t_X))
