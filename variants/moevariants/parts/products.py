"""Batched products whose large stacks of weights get their gradient in large pages."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from moevariants.parts import huge_pages


def batched(rows_ENI: Tensor, weight_EIJ: Tensor, bias_EJ: Tensor | None) -> Tensor:
    """rows_ENJ = rows W + b, expert by expert."""
    if torch.is_grad_enabled() and weight_EIJ.requires_grad and _is_large(rows_ENI, weight_EIJ):
        rows_ENJ: Tensor = _Batched.apply(rows_ENI, weight_EIJ, bias_EJ)
        return rows_ENJ
    return _affine(rows_ENI, weight_EIJ, bias_EJ)


def _is_large(rows_ENI: Tensor, weight_EIJ: Tensor) -> bool:
    plain = rows_ENI.dtype == weight_EIJ.dtype and not torch.is_autocast_enabled(rows_ENI.device.type)
    return plain and huge_pages.is_large(weight_EIJ.shape, weight_EIJ)


def _affine(rows_ENI: Tensor, weight_EIJ: Tensor, bias_EJ: Tensor | None) -> Tensor:
    if bias_EJ is None:
        return torch.bmm(rows_ENI, weight_EIJ)
    return torch.baddbmm(bias_EJ.unsqueeze(1), rows_ENI, weight_EIJ)


class _Batched(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows_ENI: Tensor, weight_EIJ: Tensor, bias_EJ: Tensor | None) -> Tensor:
        ctx.save_for_backward(rows_ENI, weight_EIJ)
        return _affine(rows_ENI, weight_EIJ, bias_EJ)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_ENJ: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None]:
        rows_ENI, weight_EIJ = ctx.saved_tensors
        of_rows, _, of_bias = ctx.needs_input_grad
        grad_EIJ = torch.bmm(rows_ENI.mT, grad_ENJ, out=huge_pages.empty(weight_EIJ.shape, weight_EIJ))
        grad_ENI = torch.bmm(grad_ENJ, weight_EIJ.mT) if of_rows else None
        return grad_ENI, grad_EIJ, grad_ENJ.sum(1) if of_bias else None
