"""Estimates with their intervals: means over seeds, medians of timings, the best of so many trials.

Means over tasks of means over seeds have Student's t interval with Satterthwaite's degrees of freedom. With s_m^2 the
variance over the S seeds on task m, and runs of different tasks independent:

    variance of the mean   V = (1 / M^2) sum_m s_m^2 / S
    degrees of freedom     (sum_m s_m^2)^2 / sum_m (s_m^4 / (S - 1)), between S - 1 and M (S - 1)

The difference of two variants that are not paired adds up the variances of both, so that the sums have 2 M terms: with
one task it is Welch's (Biometrika 1947).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, fsum, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

# A spread this small against the scores is rounding: 0.95 - 0.93 and 0.96 - 0.94 differ by 1e-17, and a
# t statistic made of that would be enormous.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Interval:
    """An estimate with its bounds.

    ``low`` and ``high`` are None together: the data set no bounds (think of minus and plus infinity).
    ``coverage`` is how often intervals made this way hold the true value, and None without bounds. It is the
    level that was asked for, except for order statistics, where it is what the sample size can reach.
    """

    value: float
    low: float | None = None
    high: float | None = None
    coverage: float | None = None


class Mean(NamedTuple):
    """A mean; ``error`` is (standard error, degrees of freedom), or None where the seeds show no spread."""

    value: float
    error: tuple[float, float] | None


def mean_interval(scores_SM: ArrayLike, level: float = 0.95) -> Interval:
    """Mean over tasks of the mean over seeds, with its t interval; no bounds where the seeds show no spread.

    ``scores_SM``: one variant's scores, (S seeds, M tasks).
    """
    scores = _matrix(scores_SM, "scores_SM")
    return _t_interval(_mean(scores, np.abs(scores).max(axis=0)), level)


def paired_interval(a_SM: ArrayLike, b_SM: ArrayLike, level: float = 0.95) -> Interval:
    """Mean difference a - b, paired by seed, with its t interval; no bounds where its seeds show no spread.

    ``a_SM``, ``b_SM``: two variants' scores, (S seeds, M tasks), rows the same seeds in the same order.
    """
    return _t_interval(mean_difference(a_SM, b_SM), level)


def welch_interval(a_SM: ArrayLike, b_SM: ArrayLike, level: float = 0.95) -> Interval:
    """Difference of the means a - b with its t interval, of runs that are independent; no bounds where neither variant
    shows any spread.

    ``a_SM``, ``b_SM``: two variants' scores, (S seeds, M tasks).
    """
    return _t_interval(welch_difference(a_SM, b_SM), level)


def median_interval(samples: ArrayLike, level: float = 0.95) -> Interval:
    """Median with the k-th smallest and k-th largest sample as bounds, k the largest that still covers.

    Nothing is assumed of the distribution but independence: the chance that they miss the median is
    2 P(Binomial(n, 1/2) < k). With too few samples (five at 0.95) the bounds are the range. One sample: no bounds.
    """
    from scipy import special

    x = np.sort(check_samples(samples, "samples"))
    value = float(np.median(x))
    if len(x) == 1:
        return Interval(value)
    missed = 2 * special.bdtr(np.arange(len(x) // 2), len(x), 0.5)
    k = max(1, int((missed <= (1 - level) * (1 + _ROUNDING)).sum()))
    return Interval(value, float(x[k - 1]), float(x[-k]), float(1 - missed[k - 1]))


def ratio_interval(a_rounds: ArrayLike, b_rounds: ArrayLike, level: float = 0.95) -> Interval:
    """Median of a / b, each ratio taken inside one round, where the machine was the same for both.

    ``a_rounds``, ``b_rounds``: positive times of two variants, one a round, rounds in the same order.
    """
    a, b = check_samples(a_rounds, "a_rounds"), check_samples(b_rounds, "b_rounds")
    if a.shape != b.shape:
        raise ValueError(f"a_rounds has {len(a)} rounds and b_rounds {len(b)}; ratios need the same rounds")
    if min(a.min(), b.min()) <= 0:
        raise ValueError("a_rounds and b_rounds must be positive: a ratio of times has no other meaning")
    return median_interval(a / b, level)


def expected_best(validation_scores: Sequence[float], n: int, *, higher_is_better: bool = True) -> float:
    """Expected best of ``n`` of the N random trials' scores: the mean over all subsets of n distinct trials.

    Unbiased, and at n = N the best score found (Tang et al. 2020; the form of Dodge et al. 2019 draws with replacement,
    which is too low). Trials must be drawn independently, so a default that was chosen by hand is left out.
    """
    worst_first = sorted(map(float, validation_scores), reverse=not higher_is_better)
    # the share of the n-subsets whose best is the i-th worst: the other n - 1 are worse
    return fsum(v * (comb(i - 1, n - 1) / comb(len(worst_first), n)) for i, v in enumerate(worst_first, 1))


def expected_best_curve(validation_scores: Sequence[float], *, higher_is_better: bool = True) -> tuple[float, ...]:
    """:func:`expected_best` for n = 1 ... N: the mean score first, what all trials together found last."""
    count = len(validation_scores)
    return tuple(expected_best(validation_scores, n, higher_is_better=higher_is_better) for n in range(1, count + 1))


def satterthwaite(deviation_XP: Array, seeds: int, tasks: int) -> tuple[Array, Array]:
    """Standard error of the mean over tasks and its degrees of freedom, each (...,), from the standard deviations over
    seeds (..., P), at least one of them above zero: one for each task, or for each task of each of two variants.
    """
    norm_X = np.linalg.norm(deviation_XP, axis=-1)
    df_X = (seeds - 1) / ((deviation_XP / norm_X[..., None]) ** 4).sum(-1)
    return norm_X / sqrt(seeds) / tasks, df_X


def deviation(x_XSM: Array, scale_XM: Array) -> Array:
    """Standard deviation over seeds (..., M); 0 where it is rounding, or where there is one seed.

    ``scale_XM``: the size of the numbers that ``x_XSM`` was made from.
    """
    if x_XSM.shape[-2] < 2:
        return np.zeros_like(scale_XM)
    deviation_XM: Array = x_XSM.std(axis=-2, ddof=1)
    deviation_XM[deviation_XM <= _ROUNDING * scale_XM] = 0
    return deviation_XM


def mean_difference(a_SM: ArrayLike, b_SM: ArrayLike) -> Mean:
    """The mean of a - b, paired by seed, with its error."""
    a, b = paired_matrices(a_SM, b_SM, ("a_SM", "b_SM"))
    return _mean(a - b, np.maximum(np.abs(a), np.abs(b)).max(axis=0))


def welch_difference(a_SM: ArrayLike, b_SM: ArrayLike) -> Mean:
    """The difference of the means of a and b with its error, not paired."""
    a, b = paired_matrices(a_SM, b_SM, ("a_SM", "b_SM"))
    deviation_P = np.concatenate([deviation(x, np.abs(x).max(axis=0)) for x in (a, b)])
    return _with_error(float((a - b).mean(axis=0).mean()), deviation_P, *a.shape)


def paired_matrices(a_SM: ArrayLike, b_SM: ArrayLike, names: tuple[str, str]) -> tuple[Array, Array]:
    """Both matrices as float64, refused unless they have as many seeds and tasks."""
    a, b = _matrix(a_SM, names[0]), _matrix(b_SM, names[1])
    if a.shape != b.shape:
        raise ValueError(
            f"{names[0]} has shape {a.shape} and {names[1]} {b.shape}; pairs need the same seeds and tasks"
        )
    return a, b


def check_samples(samples: ArrayLike, name: str) -> Array:
    """``samples`` as float64, refused unless they are a list of finite numbers."""
    x = np.asarray(samples, dtype=np.float64)
    if x.ndim != 1 or x.size == 0:
        raise ValueError(f"{name} has shape {x.shape}; it must be a list of at least one number")
    if not np.isfinite(x).all():
        raise ValueError(f"{name} holds NaN or infinity")
    return x


def _matrix(scores_SM: ArrayLike, name: str) -> Array:
    """``scores_SM`` as float64, refused unless it is (S >= 1 seeds, M >= 1 tasks) of finite numbers."""
    matrix = np.asarray(scores_SM, dtype=np.float64)
    if matrix.ndim != 2 or matrix.size == 0:
        raise ValueError(f"{name} has shape {matrix.shape}; it must be (seeds, tasks), at least one of each")
    if not np.isfinite(matrix).all():
        raise ValueError(f"{name} holds NaN or infinity; a run without a score has no place in it")
    return matrix


def _mean(x_SM: Array, scale_M: Array) -> Mean:
    """The mean of ``x_SM`` with its error.

    A spread of zero counts as unknown: coarse scores (accuracies on a few hundred images, three seeds) often agree by
    chance.
    """
    return _with_error(float(x_SM.mean(axis=0).mean()), deviation(x_SM, scale_M), *x_SM.shape)


def _with_error(value: float, deviation_P: Array, seeds: int, tasks: int) -> Mean:
    if not deviation_P.any():
        return Mean(value, None)
    standard_error, df = satterthwaite(deviation_P, seeds, tasks)
    return Mean(value, (float(standard_error), float(df)))


def _t_interval(mean: Mean, level: float) -> Interval:
    from scipy import special  # a second that a board without intervals need not pay

    if mean.error is None:
        return Interval(mean.value)
    standard_error, df = mean.error
    half = standard_error * float(special.stdtrit(df, (1 + level) / 2))
    return Interval(mean.value, mean.value - half, mean.value + half, level)
