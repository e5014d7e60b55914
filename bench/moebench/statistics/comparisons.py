"""Who is better than whom: t tests over seeds, sign tests over rounds, ranks as intervals, the Pareto front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from moebench.statistics.intervals import (
    Array,
    Mean,
    check_samples,
    deviation,
    mean_difference,
    paired_matrices,
    satterthwaite,
    welch_difference,
)

Place = Literal["front", "undecided", "beaten"]


class TTest(NamedTuple):
    """A difference a - b, in the unit of the scores, and the two-sided p-value of no difference.

    ``standard_error`` and ``df`` are None, and ``p_value`` is 1, where the seeds cannot tell.
    """

    difference: float
    standard_error: float | None
    df: float | None
    p_value: float


def paired_test(a_SM: ArrayLike, b_SM: ArrayLike) -> TTest:
    """Two-sided t test of no difference, paired by seed; it rejects at 1 - level when the interval omits 0.

    ``a_SM``, ``b_SM``: two variants' scores, (S seeds, M tasks), rows the same seeds in the same order.
    """
    return _tested(mean_difference(a_SM, b_SM))


def welch_test(a_SM: ArrayLike, b_SM: ArrayLike) -> TTest:
    """Two-sided t test of no difference between independent runs (Welch 1947); it rejects at 1 - level when
    :func:`~moebench.statistics.welch_interval` omits 0.

    ``a_SM``, ``b_SM``: two variants' scores, (S seeds, M tasks).
    """
    return _tested(welch_difference(a_SM, b_SM))


def _tested(mean: Mean) -> TTest:
    from scipy import special

    if mean.error is None:
        return TTest(mean.value, None, None, 1.0)
    standard_error, df = mean.error
    p_value = 2 * float(special.stdtr(df, -abs(mean.value) / standard_error))
    return TTest(mean.value, standard_error, df, p_value)


def chance_better(a_SM: ArrayLike, b_SM: ArrayLike, higher_is_better: bool = True) -> float | None:
    """The chance that the mean of a is better than that of b, by the t distribution of their difference; None where the
    seeds show no spread.

    It is one less half the p-value of :func:`welch_test` for the one that looks better, and says nothing of how often
    one run beats another.
    """
    from scipy import special

    mean = welch_difference(a_SM, b_SM)
    if mean.error is None:
        return None
    standard_error, df = mean.error
    return float(special.stdtr(df, (mean.value if higher_is_better else -mean.value) / standard_error))


def welch_tests(scores_NSM: Array, first_P: NDArray[np.int64], second_P: NDArray[np.int64]) -> tuple[Array, Array]:
    """:func:`welch_test` of many pairs at once: difference (P,) and p-value (P,) of the rows that are named.

    ``scores_NSM``: scores of N variants, (N, S seeds, M tasks).
    """
    from scipy import special

    seeds, tasks = scores_NSM.shape[1:]
    mean_N = scores_NSM.mean(axis=1).mean(axis=1)
    deviation_NM = deviation(scores_NSM, np.abs(scores_NSM).max(axis=1))
    value_P, p_P = mean_N[first_P] - mean_N[second_P], np.ones(len(first_P))
    deviation_P2M = np.concatenate([deviation_NM[first_P], deviation_NM[second_P]], axis=1)
    spread_P = deviation_P2M.any(axis=1)
    standard_error, df = satterthwaite(deviation_P2M[spread_P], seeds, tasks)
    p_P[spread_P] = 2 * special.stdtr(df, -np.abs(value_P[spread_P]) / standard_error)
    return value_P, p_P


def holm(p_values: Sequence[float] | Array) -> tuple[float, ...]:
    """Holm's step-down adjustment, in the order given: the i-th smallest of n times n - i + 1, made monotone.

    Rejecting adjusted p < alpha keeps the chance of any false rejection below alpha, whatever the dependence.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1)
    return tuple(adjusted.tolist())


def better_matrix(scores: Mapping[str, ArrayLike], higher_is_better: bool, alpha: float = 0.05) -> NDArray[np.bool_]:
    """better_NN[a, b]: whether variant a is significantly better than b, in the order of ``scores``.

    Welch's tests at ``alpha`` with Holm's adjustment over all pairs. ``scores``: name to scores_SM, (S seeds, M tasks),
    as many for every name.
    """
    if len(scores) < 2:
        return np.zeros((len(scores), len(scores)), dtype=bool)
    one = next(iter(scores))
    scores_NSM = np.stack([paired_matrices(scores[one], scores[name], (one, name))[1] for name in scores])
    first_P, second_P = np.triu_indices(len(scores), 1)
    difference_P, p_P = welch_tests(scores_NSM, first_P, second_P)
    return _square(len(scores), p_P, (difference_P > 0) == higher_is_better, alpha)


def faster_matrix(rounds_NR: ArrayLike, alpha: float = 0.05) -> NDArray[np.bool_]:
    """faster_NN[a, b]: whether a is significantly faster than b: the sign test over rounds, with Holm's rule over all
    pairs.

    ``rounds_NR``: positive times of N variants over the same R rounds. A tie is a win for nobody. One pair alone
    differs exactly where the interval of :func:`~moebench.statistics.ratio_interval` omits 1.
    """
    from scipy import special

    times = np.asarray(rounds_NR, dtype=np.float64)
    won_NN = np.stack([(row < times).sum(axis=1) for row in times])
    first_P, second_P = np.triu_indices(len(times), k=1)
    wins_P, losses_P = won_NN[first_P, second_P], won_NN[second_P, first_P]
    rounds = times.shape[1]
    # P(Binomial(R, 1/2) >= w) is P(Binomial(R, 1/2) <= R - w).
    p_P = np.minimum(1.0, 2 * special.bdtr(rounds - np.maximum(wins_P, losses_P), rounds, 0.5))
    return _square(len(times), p_P, wins_P > losses_P, alpha)


def _square(count: int, p_P: Array, wins_P: NDArray[np.bool_], alpha: float) -> NDArray[np.bool_]:
    """wins_NN of the pairs in the order of ``triu_indices`` whose p-value survives Holm's rule."""
    first_P, second_P = np.triu_indices(count, k=1)
    clear_P = np.asarray(holm(p_P)) < alpha
    wins_NN = np.zeros((count, count), dtype=bool)
    wins_NN[first_P, second_P] = clear_P & wins_P
    wins_NN[second_P, first_P] = clear_P & ~wins_P
    return wins_NN


def rank_intervals(
    scores: Mapping[str, ArrayLike], higher_is_better: bool, alpha: float = 0.05
) -> dict[str, tuple[int, int]]:
    """Rank from 1 + the number significantly better to N - the number significantly worse, by name in the order given.

    ``scores``: name to scores_SM, (S seeds, M tasks), as many for every name.
    All N intervals together hold the true ranks with probability 1 - alpha or more (as exact as the t tests).
    """
    return dict(zip(scores, ranks_of(better_matrix(scores, higher_is_better, alpha)), strict=True))


def ranks_of(better_NN: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The rank intervals that a :func:`better_matrix` gives, row by row."""
    losses_N: list[int] = better_NN.sum(axis=0).tolist()
    wins_N: list[int] = better_NN.sum(axis=1).tolist()
    return [(1 + losses, len(better_NN) - wins) for losses, wins in zip(losses_N, wins_N, strict=True)]


def trend_p_value(samples: ArrayLike) -> float:
    """Two-sided p-value of Kendall's test, exact: that samples in their order rise or fall by chance alone.

    Of independent samples every order is equally likely, which gives the distribution of the pairs that fall. Ties
    count as half a pair, which is conservative. (``scipy.stats.kendalltau`` approximates where there are ties.)
    """
    x = check_samples(samples, "samples")
    first, second = np.triu_indices(len(x), k=1)
    falls = float((x[first] > x[second]).sum() + 0.5 * (x[first] == x[second]).sum())
    orders = np.ones(1)
    for longer in range(2, len(x) + 1):  # the last of so many falls below 0 to longer - 1 of those before it
        orders = np.convolve(orders, np.ones(longer)) / longer
    extreme = int(max(falls, len(first) - falls))
    return min(1.0, float(2 * orders[extreme:].sum()))


def pareto_places(
    names: Sequence[str], better_MNN: NDArray[np.bool_], equal_MNN: NDArray[np.bool_]
) -> dict[str, Place]:
    """The place of each of N rows by their significant differences in M measures.

    better_MNN[m, a, b]: a is significantly better than b in measure m. equal_MNN[m, a, b]: they are equal in it.
    beaten: some row is significantly better or equal in every measure, and significantly better in one. front: against
    each other row it is significantly better in at least one measure, not always the same one, or equal in all, so
    that nothing can beat it. undecided: neither is certain.
    """
    itself_NN = np.eye(len(names), dtype=bool)
    better_NN = np.any(better_MNN, axis=0)
    beats_NN = np.logical_and(np.all(better_MNN | equal_MNN, axis=0), better_NN)
    safe_NN = np.logical_or.reduce([better_NN, np.all(equal_MNN, axis=0), itself_NN])
    beaten_N, safe_N = np.any(beats_NN, axis=0), np.all(safe_NN, axis=1)
    return {
        name: "beaten" if beaten else "front" if safe else "undecided"
        for name, beaten, safe in zip(names, beaten_N.tolist(), safe_N.tolist(), strict=True)
    }
