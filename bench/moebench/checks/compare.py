"""Differences between tensors, in words."""

from __future__ import annotations

import torch
from torch import Tensor

TOLERANCE = 2e-5
"""Largest difference, as a share of the largest value, that fp32 sums in another order may make."""


def gap(a: Tensor, b: Tensor) -> float:
    """The largest difference as a share of the largest value of ``b``; infinite if either is not finite."""
    a, b = a.detach().double(), b.detach().double()
    if a.shape != b.shape or not bool(torch.isfinite(a).all() and torch.isfinite(b).all()):
        return float("inf")
    if a.numel() == 0:
        return 0.0
    return float((a - b).abs().max() / b.abs().max().clamp_min(1e-12))


def same(a: Tensor, b: Tensor, tolerance: float = TOLERANCE) -> bool:
    """Whether the two agree up to the order of summation."""
    return gap(a, b) <= tolerance


def difference_at(a_BTO: Tensor, b_BTO: Tensor) -> str:
    """Where and by how much two outputs differ most: ``by 0.31 at input 1, token 4``."""
    if a_BTO.shape != b_BTO.shape:
        return f"in shape, {tuple(a_BTO.shape)} and {tuple(b_BTO.shape)}"
    distance_BT = (a_BTO - b_BTO).detach().double().abs().amax(-1)
    b, t = divmod(int(distance_BT.nan_to_num(nan=torch.inf).argmax()), distance_BT.shape[1])
    return f"by {float(distance_BT[b, t]):.3g} at input {b}, token {t}"


def count(number: int, singular: str) -> str:
    """``1 expert``, ``2 experts``."""
    return f"{number:,} {singular}{'s' * (number != 1)}"


def listed(items: list[str] | list[int], most: int = 6) -> str:
    """``1, 3 and 2 more``: the first few of a list."""
    shown = ", ".join(str(item) for item in items[:most])
    return shown if len(items) <= most else f"{shown} and {len(items) - most} more"
