"""Medians of timings, with intervals that assume nothing of their distribution but independence."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray

from moebench.board.statistics.interval import Interval, check_share
from moebench.board.statistics.ranks import holm


def median_interval(samples: ArrayLike, level: float = 0.95) -> Interval:
    """Median with the k-th smallest and k-th largest sample as bounds, k the largest that still covers.

    The chance that they miss the median is 2 P(Binomial(n, 1/2) < k). With too few samples (five at 0.95) the
    bounds are the range; ``coverage`` is what they reach, so ``reaches(level)`` tells. One sample: no bounds.
    """
    check_share(level, "level")
    x = np.sort(_samples(samples, "samples"))
    value = float(np.median(x))
    if len(x) == 1:
        return Interval(value)
    k = _order(len(x), level)
    return Interval(value, float(x[k - 1]), float(x[-k]), _coverage(len(x), k))


def ratio_interval(a_rounds: ArrayLike, b_rounds: ArrayLike, level: float = 0.95) -> Interval:
    """Median of a / b, each ratio taken inside one round, where the machine was the same for both.

    ``a_rounds``, ``b_rounds``: positive times of two variants, one a round, rounds in the same order.
    """
    a, b = _samples(a_rounds, "a_rounds"), _samples(b_rounds, "b_rounds")
    if a.shape != b.shape:
        raise ValueError(f"a_rounds has {len(a)} rounds and b_rounds {len(b)}; ratios need the same rounds")
    if min(a.min(), b.min()) <= 0:
        raise ValueError("a_rounds and b_rounds must be positive: a ratio of times has no other meaning")
    return median_interval(a / b, level)


def faster_matrix(rounds_NR: ArrayLike, alpha: float = 0.05) -> NDArray[np.bool_]:
    """faster_NN[a, b]: whether a is clearly faster than b: the sign test over rounds, with Holm's rule over all pairs.

    ``rounds_NR``: positive times of N variants over the same R rounds. A tie is a win for nobody. One pair alone is
    told apart exactly where the interval of :func:`ratio_interval` omits 1; of many equal pairs some would by chance.
    """
    check_share(alpha, "alpha")
    times = np.asarray(rounds_NR, dtype=np.float64)
    won_NN = np.stack([(row < times).sum(axis=1) for row in times])
    first_P, second_P = np.triu_indices(len(times), k=1)
    wins_P, losses_P = won_NN[first_P, second_P], won_NN[second_P, first_P]
    p_P = np.minimum(1.0, 2 * _tail(times.shape[1])[np.maximum(wins_P, losses_P)])
    told_P = np.asarray(holm(p_P)) < alpha
    faster_NN = np.zeros_like(won_NN, dtype=bool)
    faster_NN[first_P, second_P] = told_P & (wins_P > losses_P)
    faster_NN[second_P, first_P] = told_P & (losses_P > wins_P)
    return faster_NN


def trend_p_value(samples: ArrayLike) -> float:
    """Two-sided p-value of Kendall's test, exact: that samples in their order rise or fall by chance alone.

    Of independent samples every order is equally likely, which gives the distribution of the pairs that fall. Ties
    count as half a pair, which errs on the side of chance.
    """
    x = _samples(samples, "samples")
    first, second = np.triu_indices(len(x), k=1)
    falls = float((x[first] > x[second]).sum() + 0.5 * (x[first] == x[second]).sum())
    orders = np.ones(1)
    for longer in range(2, len(x) + 1):  # the last of so many falls below 0 to longer - 1 of those before it
        orders = np.convolve(orders, np.ones(longer)) / longer
    extreme = int(max(falls, len(first) - falls))
    return min(1.0, float(2 * orders[extreme:].sum()))


def _tail(n: int) -> NDArray[np.float64]:
    """P(Binomial(n, 1/2) >= w) for w = 0 ... n."""
    return np.array([float(Fraction(sum(comb(n, i) for i in range(w, n + 1)), 2**n)) for w in range(n + 1)])


def _samples(samples: ArrayLike, name: str) -> NDArray[np.float64]:
    x = np.asarray(samples, dtype=np.float64)
    if x.ndim != 1 or x.size == 0:
        raise ValueError(f"{name} has shape {x.shape}; it must be a list of at least one number")
    if not np.isfinite(x).all():
        raise ValueError(f"{name} holds NaN or infinity")
    return x


def _coverage(n: int, k: int) -> float:
    """1 - 2 P(Binomial(n, 1/2) <= k - 1), exact until the last step."""
    return float(1 - Fraction(2 * sum(comb(n, i) for i in range(k)), 2**n))


def _order(n: int, level: float) -> int:
    """The largest k >= 1 whose bounds cover with at least ``level``; 1 where none does."""
    k, missed, allowed = 1, 1, (1 - Fraction(level)) * 2**n / 2
    while missed + comb(n, k) <= allowed:
        missed += comb(n, k)
        k += 1
    return k
