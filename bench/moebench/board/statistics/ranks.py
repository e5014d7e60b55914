"""Ranks as intervals: which variants the seeds tell apart once every pair has been looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from moebench.board.statistics.interval import check_share
from moebench.board.statistics.matrix import Matrix, paired_matrices
from moebench.board.statistics.means import paired_tests


def holm(p_values: Sequence[float] | NDArray[np.float64]) -> tuple[float, ...]:
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


def better_matrix(scores: Mapping[str, ArrayLike], higher_is_better: bool, alpha: float = 0.05) -> NDArray[np.bool_]:
    """better_NN[a, b]: whether variant a is clearly better than b, in the order of ``scores``.

    Clearly: their paired test holds at ``alpha`` after Holm's adjustment over all pairs. ``scores``: name to scores_SM,
    (S seeds, M tasks), rows the same seeds in the same order for every name.
    """
    check_share(alpha, "alpha")
    better_NN = np.zeros((len(scores), len(scores)), dtype=bool)
    if len(scores) < 2:
        return better_NN
    first, second = np.triu_indices(len(scores), 1)
    difference_P, p_P = paired_tests(_stacked(scores), first, second)
    clear_P = np.array(holm(p_P)) < alpha
    wins_P = (difference_P > 0) == higher_is_better
    better_NN[first, second] = clear_P & wins_P
    better_NN[second, first] = clear_P & ~wins_P
    return better_NN


def rank_intervals(
    scores: Mapping[str, ArrayLike], higher_is_better: bool, alpha: float = 0.05
) -> dict[str, tuple[int, int]]:
    """Rank from 1 + the number clearly better to N - the number clearly worse, by name in the order given.

    ``scores``: name to scores_SM, (S seeds, M tasks), rows the same seeds in the same order for every name.
    All N intervals together hold the true ranks with probability 1 - alpha or more (as exact as the t tests).
    """
    return dict(zip(scores, ranks_of(better_matrix(scores, higher_is_better, alpha)), strict=True))


def ranks_of(better_NN: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The rank intervals that a :func:`better_matrix` gives, row by row."""
    losses_N: list[int] = better_NN.sum(axis=0).tolist()
    wins_N: list[int] = better_NN.sum(axis=1).tolist()
    return [(1 + losses, len(better_NN) - wins) for losses, wins in zip(losses_N, wins_N, strict=True)]


def _stacked(scores: Mapping[str, ArrayLike]) -> Matrix:
    """scores_NSM, refused unless all have the same seeds and tasks."""
    first = next(iter(scores))
    return np.stack([paired_matrices(scores[first], scores[name], (first, name))[1] for name in scores])
