"""Settings drawn from a space, the same ones every time."""

from __future__ import annotations

import math
import random

from moebench.contract import Choice, Dimension, Space
from moebench.contract.space import Value


def sample_settings(space: Space, count: int, seed: int = 0) -> list[dict[str, Value]]:
    """``count`` settings; every option of a choice comes up before one comes up again."""
    draw = random.Random(seed)
    columns = {name: _column(dimension, count, draw) for name, dimension in space.items()}
    return [{name: column[i] for name, column in columns.items()} for i in range(count)]


def _column(dimension: Dimension, count: int, draw: random.Random) -> list[Value]:
    if isinstance(dimension, Choice):
        values: list[Value] = []
        while len(values) < count:
            values += draw.sample(dimension.options, len(dimension.options))
        return values[:count]
    return [_number(dimension.low, dimension.high, dimension.log, draw) for _ in range(count)]


def _number(low: float, high: float, log: bool, draw: random.Random) -> float:
    if log:
        return min(high, max(low, math.exp(draw.uniform(math.log(low), math.log(high)))))
    return draw.uniform(low, high)
