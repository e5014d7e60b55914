"""Activations of hosts with their gradients, for parts with a backward pass of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from moebench.contract.shape import ACTIVATIONS

_aten = torch.ops.aten


class Activation(NamedTuple):
    """apply: units -> active, 0 for 0, elementwise or two units for one. gradient: of active, units -> of units."""

    apply: Callable[[Tensor], Tensor]
    gradient: Callable[[Tensor, Tensor], Tensor]


def _swiglu_backward(grad: Tensor, units: Tensor) -> Tensor:
    # Whole rows: elementwise work on every other number is slow.
    gate, up = units.reshape(*units.shape[:-1], units.shape[-1] // 2, 2).movedim(-1, 0).contiguous()
    return torch.stack([_aten.silu_backward(grad * up, gate), grad * F.silu(gate)], -1).flatten(-2)


_GRADIENTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "gelu": lambda grad, units: _aten.gelu_backward(grad, units),
    "relu": lambda grad, units: _aten.threshold_backward(grad, units, 0),
    "silu": lambda grad, units: _aten.silu_backward(grad, units),
    "swiglu": _swiglu_backward,
}

LINEAR = Activation(lambda units: units, lambda grad, units: grad)


def activation(name: str) -> Activation:
    """The one that a host calls so."""
    return Activation(ACTIVATIONS[name], _GRADIENTS[name])
