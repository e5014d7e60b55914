"""Where a GPU has kernels of its own for what moves rows and for activations: a module loaded by name.

By name, as backends are, so that it is no part of what a variant is, and is not imported where nothing runs on a GPU.
The operations of torch in :mod:`moevariants.parts` stay what they are checked against, and compute wherever the kernels
do not.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint
from typing import Protocol, cast

import torch
from torch import Tensor, nn

TYPES = frozenset({torch.float32, torch.bfloat16, torch.float16})
"""What kernels read and write; they compute in float32."""


class Kernels(Protocol):
    """What the module has. Rows, weights and places as in :mod:`moevariants.parts.dispatch`; all deterministic."""

    def combine(self, rows_MO: Tensor, weight_NK: Tensor | None, place_NK: Tensor) -> Tensor:
        """y_NO: for each token the weighted sum of its rows; weights of None are 1. A place outside of M adds 0."""

    def combine_backward(
        self, grad_NO: Tensor, rows_MO: Tensor, weight_NK: Tensor, place_NK: Tensor, *, every_row: bool
    ) -> tuple[Tensor, Tensor]:
        """grad_MO and grad_weight_NK; every_row: each of the M rows has a place, else those without get 0."""

    def activate(self, units_MU: Tensor, bias_EU: Tensor | None, ends_E: Tensor, name: str) -> Tensor:
        """active_MH of units + bias for rows sorted by expert, those of expert e before ends_E[e], all before the last;
        differentiable. name: the host's activation, or "linear", which may write into ``units_MU``.
        """


_KERNELS = EntryPoint("kernels", "moevariants.backends.kernels", "moebench.backends")


def kernels_for(rows: Tensor) -> Kernels | None:
    """The kernels, where they serve rows of this type on this device; None: torch's operations do."""
    # A tensor of another class (a fake one, for one) has no memory that a kernel could read.
    plain = type(rows) in (Tensor, nn.Parameter)
    if not (plain and rows.is_cuda and rows.dtype in TYPES) or why_not() is not None:
        return None
    return _load()


@cache
def why_not() -> str | None:
    """Why the kernels do not work on this machine, found by trying; or None."""
    try:
        kernels = _load()
        ones = torch.ones(1, 1, device="cuda")
        kernels.combine(ones, ones, torch.zeros(1, 1, dtype=torch.int64, device="cuda"))
    except Exception as error:  # Triton needs a compiler and a driver, and says so in exceptions of many classes.
        return f"Triton's kernels do not work here: {str(error).partition(chr(10))[0]}"
    return None


@cache
def _load() -> Kernels:
    return cast(Kernels, _KERNELS.load())
