"""What a layer is worth in compute: the compute of a dense model of equal loss, over the layer's own.

    loss_SK, flops_K   a ladder of K dense sizes at equal data and steps, compute rising: losses of S seeds, in nats
    loss_S             a row's losses, the same seeds in the same order

With l_k and l the means over seeds, the ladder gives compute as a function of loss by interpolation between two
neighbours, log C linear in l:

    log C(l) = log C_k + t log(C_{k+1} / C_k),   t = (l_k - l) / (l_k - l_{k+1})

The interval is that of the delta method. To first order log C(l) moves by each seed's own distance from the ladder,

    u_s = log(C_{k+1} / C_k) / (l_k - l_{k+1}) x ((1 - t) l_{s,k} + t l_{s,k+1} - l_s),

so that seeds pair rows and ladder, and Student's t with S - 1 degrees of freedom holds as far as the noise of a loss is
small beside a step of the ladder. Effective compute as a unit: arXiv 2507.17702, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, inf, log

import numpy as np
from numpy.typing import ArrayLike

from moebench.statistics.intervals import Array, Interval, check_samples, mean_interval


@dataclass(frozen=True)
class Multiplier:
    """A ratio of compute with its bounds; a bound that lies outside the ladder is None.

    value: None where the loss itself lies outside: then ``beyond`` is ``above``, and the ratio more than ``limit``, or
    ``below``, and it is less. log_S: its logarithm, seed by seed and to first order, to be compared with another row's.
    """

    value: float | None
    low: float | None
    high: float | None
    beyond: str = ""
    limit: float | None = None
    log_S: tuple[float, ...] = ()


@dataclass(frozen=True)
class PowerLaw:
    """loss = floor + scale x compute^-exponent. residual_K: measured less fitted, in nats."""

    floor: float
    scale: float
    exponent: float
    residual_K: tuple[float, ...]


def compute_multiplier(
    flops_K: Sequence[float], loss_SK: ArrayLike, loss_S: ArrayLike, flops: float, level: float = 0.95
) -> Multiplier:
    """How many times the row's compute a dense model needs for the row's loss.

    ValueError unless the ladder has two sizes at least, compute rises and mean loss falls from each to the next: where
    it does not, more compute is not what the ladder is short of, and no ratio is defined.
    """
    ladder, own = np.asarray(loss_SK, dtype=np.float64), check_samples(loss_S, "loss_S")
    compute = check_samples(flops_K, "flops_K")
    if ladder.shape != (len(own), len(compute)) or len(compute) < 2:
        raise ValueError(
            f"loss_SK has shape {ladder.shape}; it must be ({len(own)} seeds, {len(compute)} sizes, 2 or more)"
        )
    mean_K = ladder.mean(0)
    if (np.diff(compute) <= 0).any() or (np.diff(mean_K) >= 0).any():
        raise ValueError("the loss of the dense ladder does not fall with every step in compute")
    loss = float(own.mean())
    if loss > mean_K[0]:
        return Multiplier(None, None, None, "below", float(compute[0] / flops))
    if loss < mean_K[-1]:
        return Multiplier(None, None, None, "above", float(compute[-1] / flops))
    k = min(int(np.searchsorted(-mean_K, -loss, side="right")) - 1, len(compute) - 2)
    step, fall = log(compute[k + 1] / compute[k]), float(mean_K[k] - mean_K[k + 1])
    t = float(mean_K[k] - loss) / fall
    centre = log(compute[k] / flops) + t * step
    log_S = centre + step / fall * ((1 - t) * ladder[:, k] + t * ladder[:, k + 1] - own)
    return _exponential(mean_interval(log_S[:, None], level), log_S, log(compute[0] / flops), log(compute[-1] / flops))


def _exponential(interval: Interval, log_S: Array, least: float = -inf, most: float = inf) -> Multiplier:
    """The interval of a logarithm as that of a ratio, without bounds outside least and most."""
    low = None if interval.low is None or interval.low < least else exp(interval.low)
    high = None if interval.high is None or interval.high > most else exp(interval.high)
    return Multiplier(exp(interval.value), low, high, log_S=tuple(map(float, log_S)))


def multiplier_ratio(a: Multiplier, b: Multiplier, level: float = 0.95) -> Multiplier:
    """a / b, paired by seed: the worth of learned routing where b is that of a router that learns nothing.

    Where one of them is outside the ladder, what is known of the ratio is a limit, or nothing.
    """
    if a.value is not None and b.value is not None:
        log_S = np.subtract(a.log_S, b.log_S)
        return _exponential(mean_interval(log_S[:, None], level), log_S)
    over, under = _limits(a), _limits(b)
    if over[0] is not None and under[1] is not None:
        return Multiplier(None, None, None, "above", over[0] / under[1])
    if over[1] is not None and under[0] is not None:
        return Multiplier(None, None, None, "below", over[1] / under[0])
    return Multiplier(None, None, None)


def multiplier_mean(multipliers: Sequence[Multiplier], level: float = 0.95) -> Multiplier:
    """The geometric mean over tasks, by seed. Where some lie outside their ladders on the same side, it is more, or
    less, than the mean of what is known; where they lie on both sides nothing is known.
    """
    if len(multipliers) == 1:
        return multipliers[0]
    if all(each.value is not None for each in multipliers):
        log_SM = np.array([each.log_S for each in multipliers]).T
        return _exponential(mean_interval(log_SM, level), log_SM.mean(1))
    at_least, at_most = zip(*map(_limits, multipliers), strict=True)
    for limits, beyond in ((at_least, "above"), (at_most, "below")):
        known = [each for each in limits if each is not None]
        if len(known) == len(limits):
            return Multiplier(None, None, None, beyond, exp(sum(map(log, known)) / len(known)))
    return Multiplier(None, None, None)


def _limits(of: Multiplier) -> tuple[float | None, float | None]:
    """What it is at least, and at most."""
    if of.value is not None:
        return of.value, of.value
    return (of.limit, None) if of.beyond == "above" else (None, of.limit)


def gain_recovered(null_S: ArrayLike, own_S: ArrayLike, oracle_S: ArrayLike, level: float = 0.95) -> Interval:
    """(mean null - mean own) / (mean null - mean oracle), losses paired by seed: 0 for no routing, 1 for the oracle.

    The interval is Fieller's (1954): the ratios r for which the seeds of (null - own) - r (null - oracle) may have mean
    0. No bounds where the oracle is not significantly better than the null.
    """
    from scipy import special

    null, own, oracle = (check_samples(each, "losses") for each in (null_S, own_S, oracle_S))
    a, b = null - own, null - oracle
    if not a.shape == b.shape:
        raise ValueError("the three rows need the same seeds")
    seeds = len(a)
    value = float(a.mean() / b.mean()) if b.mean() else 0.0
    if seeds < 2:
        return Interval(value)
    (var_a, cov), (_, var_b) = np.cov(a, b) / seeds
    square = float(special.stdtrit(seeds - 1, (1 + level) / 2)) ** 2
    # (A - r B)^2 = t^2 (var_a - 2 r cov + r^2 var_b)
    lead = b.mean() ** 2 - square * var_b
    middle = a.mean() * b.mean() - square * cov
    last = a.mean() ** 2 - square * var_a
    root = middle**2 - lead * last
    if b.mean() <= 0 or lead <= 0 or root < 0 or not var_a + var_b:
        return Interval(value)
    return Interval(value, float((middle - root**0.5) / lead), float((middle + root**0.5) / lead), level)


def power_law(flops_K: Sequence[float], loss_K: Sequence[float], floor: float | None = None) -> PowerLaw:
    """The fit through the means of a ladder, by least squares in log(loss - floor).

    floor: given with its reason, or found among values below the smallest loss, which takes five sizes; ValueError for
    fewer.
    """
    from scipy import optimize

    compute, loss = check_samples(flops_K, "flops_K"), check_samples(loss_K, "loss_K")
    if floor is None and len(loss) < 5:
        raise ValueError(f"a floor of the loss cannot be fitted from {len(loss)} sizes; give one, or five sizes")

    def fitted(at: float) -> tuple[float, float, Array]:
        slope, start = np.polyfit(np.log(compute), np.log(loss - at), 1)
        return float(-slope), float(np.exp(start)), loss - (at + np.exp(start) * compute**slope)

    if floor is None:
        least = float(loss.min())
        found = optimize.minimize_scalar(
            lambda at: float((fitted(at)[2] ** 2).sum()), bounds=(0.0, least * (1 - 1e-6)), method="bounded"
        )
        floor = float(found.x)
    exponent, scale, residual_K = fitted(floor)
    return PowerLaw(floor, scale, exponent, tuple(map(float, residual_K)))


def smoothed(loss_J: Sequence[float], smooth: int = 3) -> list[float]:
    """The median of so many neighbouring points, an odd number; at the ends of fewer."""
    half = smooth // 2
    return [float(np.median(loss_J[max(0, j - half) : j + half + 1])) for j in range(len(loss_J))]


def steps_to(steps_J: Sequence[int], loss_J: Sequence[float], target: float, *, smooth: int = 3) -> int | None:
    """The first of the steps at which the smoothed loss is at or below the target and stays there; None: it never is.

    smooth: see :func:`smoothed`, which a target that is another curve's end must be, too.
    """
    smooth_J = smoothed(loss_J, smooth)
    first = next((j for j in range(len(smooth_J) - 1, -1, -1) if smooth_J[j] > target), -1) + 1
    return int(steps_J[first]) if first < len(smooth_J) else None
