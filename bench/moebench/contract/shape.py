"""What the host decides about a layer, the same for every variant."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor
from torch.nn import functional as F


def swiglu(units: Tensor) -> Tensor:
    """silu(gate) * up of (..., 2 H) units in which gate and up take turns: (..., H) (Shazeer, arXiv 2002.05202, eq. 6).

    They take turns, rather than halves, so that a run of units is a run of hidden ones.
    """
    # Copied apart: elementwise work on every other number is slow.
    gate, up = units.reshape(*units.shape[:-1], units.shape[-1] // 2, 2).movedim(-1, 0).contiguous()
    active: Tensor = F.silu(gate) * up
    return active


ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "relu": F.relu,
    "silu": F.silu,
    "swiglu": swiglu,
}

GATED = ("swiglu",)
"""Activations that make one hidden value of two units, so that an MLP has three matrices, two of them side by side."""


@dataclass(frozen=True, kw_only=True)
class LayerShape:
    """The slot a layer has to fill: ``(B, T, dim) -> (B, T, out_dim)``, or ``(B, V, T, out_dim)`` with views.

    ``activation`` and ``bias`` belong to the host, so that no variant wins by choosing them. With ``swiglu`` the first
    product of an MLP has to give ``units(hidden)`` = 2 x hidden values.
    ``tokens`` is T where the host fixes it, else None. ``grid`` is (height, width) where the tokens are the places of
    a feature map, row by row, else None; a layer that looks at neighbours needs it, any other takes places as tokens.
    ``views`` names the outputs where a task has several targets; a layer that knows nothing of them gives one output,
    which all targets share. ``vocabulary``: token ids are below it, in a host of text; else None.
    ``index`` counts the replaced layers from 0 to ``depth``-1.
    """

    dim: int
    out_dim: int
    tokens: int | None
    activation: str = "gelu"
    bias: bool = True
    grid: tuple[int, int] | None = None
    causal: bool = False
    views: tuple[str, ...] = ()
    vocabulary: int | None = None
    index: int = 0
    depth: int = 1

    def __post_init__(self) -> None:
        if self.grid is not None and self.tokens != self.grid[0] * self.grid[1]:
            height, width = self.grid
            raise ValueError(f"a grid of {height} x {width} has {height * width} tokens, not {self.tokens}")

    @property
    def kind(self) -> Literal["tokens", "map"]:
        """What flows through: a set of tokens, or one feature map per input."""
        return "tokens" if self.grid is None else "map"

    def units(self, hidden: int) -> int:
        """Values that the first product of an MLP gives, for so many hidden ones: twice as many where it is gated."""
        return 2 * hidden if self.activation in GATED else hidden

    def activate(self, x: Tensor) -> Tensor:
        """The host's activation: (..., ``units(H)``) -> (..., H)."""
        return ACTIVATIONS[self.activation](x)

    def to_json(self) -> dict[str, Any]:
        """As a record has it; grid, views and vocabulary only where there are any."""
        values = dataclasses.asdict(self) | {"kind": self.kind}
        return {name: value for name, value in values.items() if name not in ("grid", "views", "vocabulary") or value}
