"""Means over tasks of means over seeds, with Student's t and Satterthwaite's degrees of freedom.

With s_m^2 the variance over the S seeds on task m, and runs of different tasks independent:

    variance of the mean   V = (1 / M^2) sum_m s_m^2 / S
    degrees of freedom     (sum_m s_m^2)^2 / sum_m (s_m^4 / (S - 1)), between S - 1 and M (S - 1)
"""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from moebench.board.statistics.interval import Interval, check_share
from moebench.board.statistics.matrix import Matrix, paired_matrices, score_matrix

# A spread this small against the scores is rounding: 0.95 - 0.93 and 0.96 - 0.94 differ by 1e-17, and a
# t statistic made of that would be enormous.
_ROUNDING = 1e-12


class PairedTest(NamedTuple):
    """A difference a - b, in the unit of the scores, and the two-sided p-value of no difference.

    ``standard_error`` and ``df`` are None, and ``p_value`` is 1, where the seeds cannot tell.
    """

    difference: float
    standard_error: float | None
    df: float | None
    p_value: float


class _Mean(NamedTuple):
    """A mean; ``error`` is (standard error, degrees of freedom), or None where the seeds show no spread."""

    value: float
    error: tuple[float, float] | None


def mean_interval(scores_SM: ArrayLike, level: float = 0.95) -> Interval:
    """Mean over tasks of the mean over seeds, with its t interval; no bounds where the seeds show no spread.

    ``scores_SM``: one variant's scores, (S seeds, M tasks).
    """
    scores = score_matrix(scores_SM)
    return _t_interval(_mean(scores, np.abs(scores).max(axis=0)), level)


def paired_interval(a_SM: ArrayLike, b_SM: ArrayLike, level: float = 0.95) -> Interval:
    """Mean difference a - b, paired by seed, with its t interval; no bounds where its seeds show no spread.

    ``a_SM``, ``b_SM``: two variants' scores, (S seeds, M tasks), rows the same seeds in the same order.
    """
    return _t_interval(_mean_difference(a_SM, b_SM), level)


def paired_test(a_SM: ArrayLike, b_SM: ArrayLike) -> PairedTest:
    """Two-sided t test of no difference, paired by seed; it rejects at 1 - level when the interval omits 0.

    ``a_SM``, ``b_SM``: two variants' scores, (S seeds, M tasks), rows the same seeds in the same order.
    """
    from scipy import special  # half a second that a board without tests need not pay

    mean = _mean_difference(a_SM, b_SM)
    if mean.error is None:
        return PairedTest(mean.value, None, None, 1.0)
    standard_error, df = mean.error
    p_value = 2 * float(special.stdtr(df, -abs(mean.value) / standard_error))
    return PairedTest(mean.value, standard_error, df, p_value)


def paired_tests(scores_NSM: Matrix, first_P: NDArray[np.int64], second_P: NDArray[np.int64]) -> tuple[Matrix, Matrix]:
    """:func:`paired_test` of many pairs at once: difference (P,) and p-value (P,) of the rows that are named.

    ``scores_NSM``: scores of N variants, (N, S seeds, M tasks), the same seeds and tasks for all.
    """
    from scipy import special

    difference_PSM = scores_NSM[first_P] - scores_NSM[second_P]
    size_NM = np.abs(scores_NSM).max(axis=1)
    deviation_PM = _deviation(difference_PSM, np.maximum(size_NM[first_P], size_NM[second_P]))
    value_P, p_P = difference_PSM.mean(axis=1).mean(axis=1), np.ones(len(first_P))
    seen_P = deviation_PM.any(axis=1)
    standard_error, df = satterthwaite(deviation_PM[seen_P], scores_NSM.shape[1])
    p_P[seen_P] = 2 * special.stdtr(df, -np.abs(value_P[seen_P]) / standard_error)
    return value_P, p_P


def _deviation(x_XSM: Matrix, scale_XM: Matrix) -> Matrix:
    """Standard deviation over seeds (..., M); 0 where it is rounding, or where there is one seed."""
    if x_XSM.shape[-2] < 2:
        return np.zeros_like(scale_XM)
    deviation_XM: Matrix = x_XSM.std(axis=-2, ddof=1)
    deviation_XM[deviation_XM <= _ROUNDING * scale_XM] = 0
    return deviation_XM


def _mean_difference(a_SM: ArrayLike, b_SM: ArrayLike) -> _Mean:
    a, b = paired_matrices(a_SM, b_SM, ("a_SM", "b_SM"))
    return _mean(a - b, np.maximum(np.abs(a), np.abs(b)).max(axis=0))


def _mean(x_SM: Matrix, scale_M: Matrix) -> _Mean:
    """The mean of ``x_SM`` with its error; ``scale_M`` is the size of the numbers that x was made from.

    All seeds alike is what coarse scores give by chance (accuracies on a few hundred images, three seeds),
    so a spread of zero is taken as "not measured" and not as certainty.
    """
    value = float(x_SM.mean(axis=0).mean())
    deviation_M = _deviation(x_SM, scale_M)
    if not deviation_M.any():
        return _Mean(value, None)
    standard_error, df = satterthwaite(deviation_M, len(x_SM))
    return _Mean(value, (float(standard_error), float(df)))


def satterthwaite(deviation_XM: Matrix, seeds: int) -> tuple[Matrix, Matrix]:
    """Standard error of the mean over tasks and its degrees of freedom, each (...,), from the standard deviations over
    seeds (..., M tasks), at least one of them above zero.
    """
    tasks = deviation_XM.shape[-1]
    norm_X = np.linalg.norm(deviation_XM, axis=-1)
    df_X = (seeds - 1) / ((deviation_XM / norm_X[..., None]) ** 4).sum(-1)
    return norm_X / sqrt(seeds) / tasks, df_X


def _t_interval(mean: _Mean, level: float) -> Interval:
    from scipy import special

    check_share(level, "level")
    if mean.error is None:
        return Interval(mean.value)
    standard_error, df = mean.error
    half = standard_error * float(special.stdtrit(df, (1 + level) / 2))
    return Interval(mean.value, mean.value - half, mean.value + half, level)
