"""The budget of a run: an amount on one axis, over all expert layers of the host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from moebench.contract import LayerShape

Axis = Literal["total", "active", "flops"]
AXES: tuple[str, ...] = get_args(Axis)

TOLERANCE = 0.01
"""A row further from the budget than this share is not ranked."""


@dataclass(frozen=True)
class Budget:
    """``amount`` parameters, or FLOPs per input on the axis ``flops``, over the layers that fill ``shapes``."""

    axis: Axis
    amount: int
    shapes: tuple[LayerShape, ...]
