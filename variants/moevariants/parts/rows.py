"""Rows taken from tokens, several from one, and added up again, with gradients that are the same every time.

On a GPU index_add_, which is also the gradient of index_select, adds in no fixed order; there rows are sorted by token
once, and each token's are added up one after the other.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from moevariants.parts import devices


class Taken(NamedTuple):
    """token_M: of each row. order_M: the rows sorted by token, of which those of a token start at start_N; None on a
    CPU. num_tokens: N.
    """

    token_M: Tensor
    num_tokens: int
    order_M: Tensor | None = None
    start_N: Tensor | None = None


def plan_rows(token_M: Tensor, num_tokens: int) -> Taken:
    """For rows of these tokens."""
    if devices.on_cpu(token_M):
        return Taken(token_M, num_tokens)
    sorted_M, order_M = token_M.sort(stable=True)
    start_N = torch.searchsorted(sorted_M, torch.arange(num_tokens, device=token_M.device))
    return Taken(token_M, num_tokens, order_M, start_N)


def take(x_ND: Tensor, taken: Taken) -> Tensor:
    """rows_MD: a copy of its token for each row."""
    if taken.order_M is None:
        return x_ND.index_select(0, taken.token_M)
    rows_MD: Tensor = _Take.apply(x_ND, taken)
    return rows_MD


def add_up(rows_MO: Tensor, taken: Taken) -> Tensor:
    """y_NO: for each token the sum of its rows; 0 for one without."""
    if taken.order_M is None:
        return rows_MO.new_zeros(taken.num_tokens, rows_MO.shape[1]).index_add(0, taken.token_M, rows_MO)
    y_NO: Tensor = _AddUp.apply(rows_MO, taken)
    return y_NO


class _Take(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, taken: Taken) -> Tensor:
        ctx.taken = taken
        return x_ND.index_select(0, taken.token_M)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_MD: Tensor) -> tuple[Tensor, None]:
        return _sums(grad_MD, ctx.taken), None


class _AddUp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows_MO: Tensor, taken: Taken) -> Tensor:
        ctx.taken = taken
        return _sums(rows_MO, taken)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_NO: Tensor) -> tuple[Tensor, None]:
        return grad_NO.index_select(0, ctx.taken.token_M), None


def _sums(rows_MO: Tensor, taken: Taken) -> Tensor:
    assert taken.order_M is not None
    if not len(rows_MO):
        return rows_MO.new_zeros(taken.num_tokens, rows_MO.shape[1])
    return F.embedding_bag(taken.order_M, rows_MO, taken.start_N, mode="sum")
