"""Teaches torch's FLOP counter the grouped product, which it counts as nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.flop_counter import flop_registry, register_flop_formula


def grouped_mm_flops(a: Sequence[int], b: Sequence[int], *_: Any, **__: Any) -> int:
    """Two FLOPs a multiply-add, for each of the four combinations of 2-D and 3-D operands.

    Where both have a group axis every group works on all of them; where one has it the other's rows are
    shared out.
    """
    products = a[-2] * a[-1] * b[-1]
    return 2 * products * (a[0] if len(a) == len(b) == 3 else 1)


def register() -> None:
    """Make the formula known, unless torch has brought its own."""
    target = getattr(torch.ops.aten, "_grouped_mm", None)
    if target is not None and target not in flop_registry:
        register_flop_formula(target)(grouped_mm_flops)
