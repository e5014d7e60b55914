"""Triton's kernels for what lies between the products of a sparse layer; see :mod:`moevariants.parts.fused`.

Each reads its operands once, computes in float32, and adds up in a fixed order: no atomic additions. Axis letters as in
:mod:`moevariants.parts`; U units are H hidden ones, or 2 H where the activation is gated. Imported on a GPU alone.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from triton import cdiv, next_power_of_2

from moevariants.backends.kernel_code import (
    activate_backward_kernel,
    activate_kernel,
    combine_backward_kernel,
    combine_kernel,
)

WIDEST = 2048
"""Columns that a program of the combining kernels has at once."""
ROWS, COLUMNS = 16, 128
"""The tile of the activation's kernels: whole rows of memory of 256 bytes, in bfloat16."""
MOST_PARTS = 64
"""Programs that share the rows of one expert."""


def combine(rows_MO: Tensor, weight_NK: Tensor | None, place_NK: Tensor) -> Tensor:
    """y_NO: see :class:`moevariants.parts.fused.Kernels`."""
    rows_MO, place_NK = rows_MO.contiguous(), place_NK.contiguous()
    (num_rows, width), (num_tokens, top_k) = rows_MO.shape, place_NK.shape
    y_NO = rows_MO.new_empty(num_tokens, width)
    block, warps = columns_and_warps(width)
    with _launched_at(rows_MO):
        combine_kernel[num_tokens, cdiv(width, block)](
            rows_MO, None if weight_NK is None else weight_NK.contiguous(), place_NK, y_NO, num_rows, width,
            K=top_k, BLOCK=block, num_warps=warps, enable_fp_fusion=True,
        )  # fmt: skip
    return y_NO


def combine_backward(
    grad_NO: Tensor, rows_MO: Tensor, weight_NK: Tensor, place_NK: Tensor, *, every_row: bool
) -> tuple[Tensor, Tensor]:
    """grad_MO and grad_weight_NK: see :class:`moevariants.parts.fused.Kernels`."""
    rows_MO, place_NK = rows_MO.contiguous(), place_NK.contiguous()
    (num_rows, width), (num_tokens, top_k) = rows_MO.shape, place_NK.shape
    grad_MO = torch.empty_like(rows_MO) if every_row else torch.zeros_like(rows_MO)
    grad_weight_NK = torch.empty_like(weight_NK, memory_format=torch.contiguous_format)
    block, warps = columns_and_warps(width)
    with _launched_at(rows_MO):
        combine_backward_kernel[(num_tokens,)](
            grad_NO.contiguous(), rows_MO, weight_NK.contiguous(), place_NK, grad_MO, grad_weight_NK, num_rows, width,
            K=top_k, BLOCK=block, num_warps=warps, enable_fp_fusion=True,
        )  # fmt: skip
    return grad_MO, grad_weight_NK


def activate(units_MU: Tensor, bias_EU: Tensor | None, ends_E: Tensor, name: str) -> Tensor:
    """active_MH: see :class:`moevariants.parts.fused.Kernels`."""
    bias_EU = None if bias_EU is None else bias_EU.contiguous()
    active_MH: Tensor = _Activate.apply(units_MU, bias_EU, ends_E, name)
    return active_MH


class _Activate(torch.autograd.Function):
    """The activation of units + bias. What is kept for the backward pass is the units, to which it adds the bias anew.

    ``linear`` needs nothing but its gradient, and writes in place: nothing at all where there is no bias.
    """

    @staticmethod
    def forward(ctx: Any, units_MU: Tensor, bias_EU: Tensor | None, ends_E: Tensor, name: str) -> Tensor:
        given, units_MU, linear = units_MU, units_MU.contiguous(), name == "linear"
        if linear and units_MU is given:
            ctx.mark_dirty(units_MU)
        ctx.name = name
        ctx.save_for_backward(None if linear else units_MU, bias_EU, ends_E)
        num_rows, width = units_MU.shape
        if linear and bias_EU is None:
            return units_MU
        active_MH = units_MU if linear else units_MU.new_empty(num_rows, _hidden(width, name))
        with _launched_at(units_MU):
            activate_kernel[_grid(num_rows, width, len(ends_E))](
                units_MU, bias_EU, ends_E, active_MH, width,
                KIND=name, ROWS=ROWS, COLUMNS=COLUMNS, enable_fp_fusion=True,
            )  # fmt: skip
        return active_MH

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_MH: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        (units_MU, bias_EU, ends_E), name = ctx.saved_tensors, ctx.name
        # Contiguous for the product, too, whose gradient this is.
        grad_MH = grad_MH.contiguous()
        if units_MU is None and bias_EU is None:
            return grad_MH, None, None, None
        num_rows, width = grad_MH.shape if units_MU is None else units_MU.shape
        grad_MU = grad_MH if units_MU is None else torch.empty_like(units_MU)
        grid = _grid(num_rows, width, len(ends_E))
        part_PEU = None
        if bias_EU is not None:
            part_PEU = grad_MH.new_empty(grid[1], len(ends_E), width, dtype=torch.float32)
        with _launched_at(grad_MH):
            activate_backward_kernel[grid](
                grad_MH, units_MU, bias_EU, ends_E, grad_MU, part_PEU, width,
                KIND=name, ROWS=ROWS, COLUMNS=COLUMNS, enable_fp_fusion=True,
            )  # fmt: skip
        return grad_MU, None if part_PEU is None else part_PEU.sum(0).to(bias_EU.dtype), None, None


def _hidden(units: int, name: str) -> int:
    return units // 2 if name == "swiglu" else units


def _launched_at(x: Tensor) -> AbstractContextManager[None]:
    """Triton launches where the current device is, wherever the tensors are."""
    device: AbstractContextManager[None] = torch.cuda.device_of(x)  # type: ignore[no-untyped-call]
    return device


def columns_and_warps(width: int) -> tuple[int, int]:
    """Columns of a program of the combining kernels, and its warps."""
    block = min(WIDEST, max(16, next_power_of_2(width)))
    return block, max(1, min(4, block // 256))


def _grid(num_rows: int, width: int, num_experts: int) -> tuple[int, int, int]:
    """Programs along the units, for the rows of one expert, and the experts. Nothing of the load is asked for."""
    parts = max(1, min(MOST_PARTS, num_rows // (8 * ROWS * num_experts)))
    return cdiv(width, COLUMNS), parts, num_experts
