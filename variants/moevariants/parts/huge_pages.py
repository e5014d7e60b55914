"""Memory for large results on a CPU, in large pages, and batched products whose weights get their gradient there.

The C library gives blocks of more than 32 MiB back to the system as soon as they are free, so that the next one is
mapped anew, page by page of 4 KiB, which takes longer than many a product that fills it: 64 x 192 x 768 numbers 8.5 ms
with the product, 2.4 in pages of 2 MiB. NumPy asks Linux for those where it can (``NUMPY_MADVISE_HUGEPAGE``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from moevariants.parts import devices

LARGE = 32 << 20
"""Bytes above which the C library keeps nothing."""


def empty(shape: Sequence[int], like: Tensor) -> Tensor:
    """A tensor of this shape, of the type and on the device of ``like``, with anything in it."""
    if is_large(shape, like):
        return torch.from_numpy(np.empty(tuple(shape), np.float32))
    return like.new_empty(shape)


def is_large(shape: Sequence[int], like: Tensor) -> bool:
    """Whether :func:`empty` takes large pages."""
    on_cpu = devices.on_cpu(like) and like.dtype == torch.float32
    return on_cpu and math.prod(shape) * like.itemsize > LARGE


def batched(rows_ENI: Tensor, weight_EIJ: Tensor, bias_EJ: Tensor | None) -> Tensor:
    """rows_ENJ = rows W + b, expert by expert."""
    learns = torch.is_grad_enabled() and weight_EIJ.requires_grad
    plain = rows_ENI.dtype == weight_EIJ.dtype and not torch.is_autocast_enabled(rows_ENI.device.type)
    if learns and plain and is_large(weight_EIJ.shape, weight_EIJ):
        rows_ENJ: Tensor = _Batched.apply(rows_ENI, weight_EIJ, bias_EJ)
        return rows_ENJ
    if len(weight_EIJ) == 1 and not devices.on_cpu(weight_EIJ):
        # As one product, which adds the bias in passing; of a batch it is copied first.
        bias_J = None if bias_EJ is None else bias_EJ.squeeze(0)
        return F.linear(rows_ENI.squeeze(0), weight_EIJ.squeeze(0).mT, bias_J).unsqueeze(0)
    return _affine(rows_ENI, weight_EIJ, bias_EJ)


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
        grad_EIJ = torch.bmm(rows_ENI.mT, grad_ENJ, out=empty(weight_EIJ.shape, weight_EIJ))
        grad_ENI = torch.bmm(grad_ENJ, weight_EIJ.mT) if of_rows else None
        return grad_ENI, grad_EIJ, grad_ENJ.sum(1) if of_bias else None
