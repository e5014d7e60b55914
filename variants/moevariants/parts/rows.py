"""Rows taken from tokens, several from one, and added up again, with gradients that are the same every time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def take(x_ND: Tensor, token_M: Tensor) -> Tensor:
    """rows_MD: a copy of its token for each row."""
    rows_MD: Tensor = _Take.apply(x_ND, token_M)
    return rows_MD


def add_up(rows_MO: Tensor, token_M: Tensor, num_tokens: int) -> Tensor:
    """y_NO: for each token the sum of its rows; 0 for one without."""
    y_NO: Tensor = _AddUp.apply(rows_MO, token_M, num_tokens)
    return y_NO


class _Take(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, token_M: Tensor) -> Tensor:
        ctx.save_for_backward(token_M)
        ctx.num_tokens = len(x_ND)
        return x_ND.index_select(0, token_M)

    @staticmethod
    def backward(ctx: Any, grad_MD: Tensor) -> tuple[Tensor, None]:
        (token_M,) = ctx.saved_tensors
        return _sum(grad_MD, token_M, ctx.num_tokens), None


class _AddUp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows_MO: Tensor, token_M: Tensor, num_tokens: int) -> Tensor:
        ctx.save_for_backward(token_M)
        return _sum(rows_MO, token_M, num_tokens)

    @staticmethod
    def backward(ctx: Any, grad_NO: Tensor) -> tuple[Tensor, None, None]:
        (token_M,) = ctx.saved_tensors
        return grad_NO.index_select(0, token_M), None, None


def _sum(rows_MO: Tensor, token_M: Tensor, num_tokens: int) -> Tensor:
    """In a fixed order: on a GPU index_add_ adds as it comes, index_put_ sorts first."""
    zero_NO = rows_MO.new_zeros(num_tokens, rows_MO.shape[1])
    if rows_MO.device.type == "cpu":
        return zero_NO.index_add_(0, token_M, rows_MO)
    return zero_NO.index_put_((token_M,), rows_MO, accumulate=True)
