"""The Pareto front of several measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite


def pareto_front(points: Mapping[str, Sequence[float]], smaller_is_better: Sequence[bool]) -> set[str]:
    """The names that no other point beats: at least as good in every measure and better in one.

    Equal points do not beat each other. Values are compared as they are; uncertainty plays no part.
    """
    costs = {name: _costs(name, point, smaller_is_better) for name, point in points.items()}
    return {name for name, cost in costs.items() if not any(_beats(other, cost) for other in costs.values())}


def _costs(name: str, point: Sequence[float], smaller_is_better: Sequence[bool]) -> tuple[float, ...]:
    """The point with every measure turned so that smaller is better."""
    if len(point) != len(smaller_is_better) or not all(map(isfinite, point)):
        raise ValueError(f"'{name}' is {list(point)}; it must have {len(smaller_is_better)} finite measures")
    return tuple(x if smaller else -x for x, smaller in zip(point, smaller_is_better, strict=True))


def _beats(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))
