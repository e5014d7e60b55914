"""Ranks as intervals: which variants the seeds tell apart once every pair has been looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from moebench.board.statistics.interval import check_share
from moebench.board.statistics.matrix import paired_matrices
from moebench.board.statistics.means import paired_test


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Holm's step-down adjustment, in the order given: the i-th smallest of n times n - i + 1, made monotone.

    Rejecting adjusted p < alpha keeps the chance of any false rejection below alpha, whatever the dependence.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p-values must lie between 0 and 1, not {list(p_values)}")
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1)
    return tuple(adjusted.tolist())


def clearly_better(
    scores: Mapping[str, ArrayLike], higher_is_better: bool, alpha: float = 0.05
) -> frozenset[tuple[str, str]]:
    """The pairs (better, worse) whose paired test holds at ``alpha`` after Holm's adjustment over all pairs.

    ``scores``: name to scores_SM, (S seeds, M tasks), rows the same seeds in the same order for every name.
    """
    check_share(alpha, "alpha")
    pairs = list(combinations(scores, 2))
    tests = [paired_test(*paired_matrices(scores[a], scores[b], (a, b))) for a, b in pairs]
    adjusted = holm([test.p_value for test in tests])
    return frozenset(
        (a, b) if (test.difference > 0) == higher_is_better else (b, a)
        for (a, b), test, p in zip(pairs, tests, adjusted, strict=True)
        if p < alpha
    )


def rank_intervals(
    scores: Mapping[str, ArrayLike], higher_is_better: bool, alpha: float = 0.05
) -> dict[str, tuple[int, int]]:
    """Rank from 1 + the number clearly better to N - the number clearly worse, by name in the order given.

    ``scores``: name to scores_SM, (S seeds, M tasks), rows the same seeds in the same order for every name.
    All N intervals together hold the true ranks with probability 1 - alpha or more (as exact as the t tests).
    """
    decided = clearly_better(scores, higher_is_better, alpha)
    losses = [worse for _, worse in decided]
    wins = [better for better, _ in decided]
    return {name: (1 + losses.count(name), len(scores) - wins.count(name)) for name in scores}
