"""What depends on where a tensor is: asked here alone, so that tests can have on a CPU what a GPU does."""

from __future__ import annotations

import torch
from torch import Tensor


def on_cpu(x: Tensor) -> bool:
    """Whether its numbers are at hand: additions have an order there, and asking for a value waits for nobody."""
    return x.device.type == "cpu"


def in_product_type(x: Tensor) -> Tensor:
    """x in the type that autocast gives to products, on a GPU: rows that are copied first and cast then cost twice as
    much memory traffic. On a CPU as it is.
    """
    kind = x.device.type
    if on_cpu(x) or x.dtype == torch.float64 or not torch.is_autocast_enabled(kind):
        return x
    return x.to(torch.get_autocast_dtype(kind))
