"""The Pareto front of several measures: of points, and of rows of which only some differences are certain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Place = Literal["front", "undecided", "beaten"]


def pareto_front(points: Mapping[str, Sequence[float]], smaller_is_better: Sequence[bool]) -> set[str]:
    """The names that no other point beats: at least as good in every measure and better in one.

    Equal points do not beat each other. Values are compared as they are; uncertainty plays no part.
    """
    if not points:
        return set()
    costs_NM = np.array([_costs(name, point, smaller_is_better) for name, point in points.items()])
    no_worse_NN = np.all(costs_NM[:, None] <= costs_NM, axis=-1)
    better_NN = np.any(costs_NM[:, None] < costs_NM, axis=-1)
    beaten_N = np.any(np.logical_and(no_worse_NN, better_NN), axis=0)
    return {name for name, beaten in zip(points, beaten_N.tolist(), strict=True) if not beaten}


def pareto_places(
    names: Sequence[str], better_MNN: NDArray[np.bool_], equal_MNN: NDArray[np.bool_]
) -> dict[str, Place]:
    """Where each of N rows stands by what is certain of their differences in M measures.

    better_MNN[m, a, b]: a is clearly better than b in measure m. equal_MNN[m, a, b]: they are exactly equal in it.
    beaten: some row is clearly better or equal in every measure, and clearly better in one. front: against each
    other row it is clearly better in at least one measure, not always the same one, or equal in all, so that nothing
    can beat it. undecided: neither is certain.
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


def _costs(name: str, point: Sequence[float], smaller_is_better: Sequence[bool]) -> tuple[float, ...]:
    """The point with every measure turned so that smaller is better."""
    if len(point) != len(smaller_is_better) or not all(map(isfinite, point)):
        raise ValueError(f"'{name}' is {list(point)}; it must have {len(smaller_is_better)} finite measures")
    return tuple(x if smaller else -x for x, smaller in zip(point, smaller_is_better, strict=True))
