"""Activations of hosts with their gradients, for parts with a backward pass of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from moebench.contract.shape import ACTIVATIONS

_aten = torch.ops.aten


class Activation(NamedTuple):
    """apply: units -> active, elementwise, 0 for 0. gradient: of active, units -> of units."""

    apply: Callable[[Tensor], Tensor]
    gradient: Callable[[Tensor, Tensor], Tensor]


_GRADIENTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "gelu": lambda grad, units: _aten.gelu_backward(grad, units),
    "relu": lambda grad, units: _aten.threshold_backward(grad, units, 0),
    "silu": lambda grad, units: _aten.silu_backward(grad, units),
}

LINEAR = Activation(lambda units: units, lambda grad, units: grad)


def activation(name: str) -> Activation:
    """The one that a host calls so."""
    return Activation(ACTIVATIONS[name], _GRADIENTS[name])
