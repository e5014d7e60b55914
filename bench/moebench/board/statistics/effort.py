"""What tuning effort buys: the best validation score to expect after n random trials.

Dodge et al. (2019) estimate it as if trials were drawn with replacement from the N that were run:
sum_i v_(i) ((i / N)^n - ((i - 1) / N)^n), scores sorted ascending. That is biased low, and at n = N it stays
below the best score that was found. The default here is the mean over all subsets of n distinct trials (Tang
et al. 2020): unbiased, exact with few trials, and it ends at the best score found. It varies a little more,
and it is defined for n <= N alone. Both need trials drawn independently: leave out a hand-made default.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb, fsum, isfinite


def expected_best(
    validation_scores: Sequence[float], n: int, *, higher_is_better: bool = True, replacement: bool = False
) -> float:
    """Expected best of ``n`` of the N random trials' scores.

    ``replacement`` selects the form of Dodge et al. (2019), which also allows n > N.
    """
    trials = len(validation_scores)
    if n < 1 or (n > trials and not replacement) or trials == 0:
        raise ValueError(f"n is {n}; with {trials} trials it must be a number from 1 to {trials}")
    if not all(map(isfinite, validation_scores)):
        raise ValueError("validation_scores holds NaN or infinity; give a diverged trial the task's floor")
    worst_first = sorted(map(float, validation_scores), reverse=not higher_is_better)
    weight = _with_replacement if replacement else _of_subsets
    return fsum(score * weight(place, n, trials) for place, score in enumerate(worst_first, 1))


def expected_best_curve(
    validation_scores: Sequence[float], *, higher_is_better: bool = True, replacement: bool = False
) -> tuple[float, ...]:
    """:func:`expected_best` for n = 1 ... N: the mean score first, what all trials together found last."""
    return tuple(
        expected_best(validation_scores, n, higher_is_better=higher_is_better, replacement=replacement)
        for n in range(1, len(validation_scores) + 1)
    )


def _of_subsets(place: int, n: int, trials: int) -> float:
    """The share of the n-subsets whose best is the ``place``-th worst: the other n - 1 are worse."""
    return comb(place - 1, n - 1) / comb(trials, n)


def _with_replacement(place: int, n: int, trials: int) -> float:
    """The chance that the best of n draws with replacement is the ``place``-th worst."""
    return (place / trials) ** n - ((place - 1) / trials) ** n
