"""From choices to rows sorted by expert and back, without atomic additions: every gradient is deterministic.

An assignment a = n K + k is the k-th choice of token n; there are A = N K of them, and M <= A have a row.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from moevariants.parts import devices, fused, huge_pages


class Dispatch(NamedTuple):
    """Which row an expert works on for which assignment.

    order_M: the assignment of each row, rows sorted by expert. place_NK: the row of each assignment, M where
    it has none. counts_E: rows of each expert. live_M: False for rows that belong to no expert, which come last;
    None where there are none, and counts_E sums to M. drops: whether some assignment may have no row.
    """

    order_M: Tensor
    place_NK: Tensor
    counts_E: Tensor
    live_M: Tensor | None = None
    drops: bool = False


def plan_dispatch(
    chosen_NK: Tensor, num_experts: int, kept_NK: Tensor | None = None, *, cut: bool | None = None
) -> Dispatch:
    """Sort assignments by expert, within an expert by token; those not kept (None: all are) get no row.

    cut: leave out the rows of nobody, whose number must be known; by default not on a GPU, which would be waited for.
    Without it backends compute some rows for nothing.
    """
    expert_A = chosen_NK.flatten() if kept_NK is None else chosen_NK.where(kept_NK, num_experts).flatten()
    key_type = _smallest(num_experts)
    sorted_A, order_A = expert_A.to(key_type).sort(stable=True)
    rows_A = torch.arange(len(order_A), device=order_A.device)
    place_NK = torch.empty_like(order_A).scatter_(0, order_A, rows_A).view_as(chosen_NK)
    experts_E = torch.arange(num_experts, device=order_A.device, dtype=key_type)
    ends_E = torch.searchsorted(sorted_A, experts_E, right=True)
    counts_E = ends_E.diff(prepend=ends_E.new_zeros(1))
    if kept_NK is None:
        return Dispatch(order_A, place_NK, counts_E)
    if devices.on_cpu(order_A) if cut is None else cut:
        rows = int(ends_E[-1])
        return Dispatch(order_A[:rows], place_NK.clamp(max=rows), counts_E, drops=rows < len(order_A))
    place_NK = place_NK.where(kept_NK, len(order_A))
    return Dispatch(order_A, place_NK, counts_E, sorted_A < num_experts, drops=True)


def _smallest(most: int) -> torch.dtype:
    """The smallest type of integers from 0 to ``most``: a GPU sorts by 8 bits at a time."""
    return next((kind for kind in (torch.uint8, torch.int16) if most <= torch.iinfo(kind).max), torch.int64)


def take_rows(x_ND: Tensor, dispatch: Dispatch) -> Tensor:
    """rows_MD: a copy of its token for each row."""
    rows_MD: Tensor = _TakeRows.apply(x_ND, dispatch)
    return rows_MD


def combine_rows(rows_MO: Tensor, weight_NK: Tensor, dispatch: Dispatch) -> Tensor:
    """y_NO: for each token the weighted sum of its rows; 0 for an assignment without one."""
    if fused.kernels_for(rows_MO) is None:  # which take weights in their own type
        weight_NK = weight_NK.to(rows_MO.dtype)
    y_NO: Tensor = _Combine.apply(rows_MO, weight_NK, dispatch)
    return y_NO


class _TakeRows(torch.autograd.Function):
    """Tokens to rows; the gradient of a token is the sum of those of its rows."""

    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, dispatch: Dispatch) -> Tensor:
        ctx.dispatch = dispatch
        return _spread(x_ND, dispatch)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_MD: Tensor) -> tuple[Tensor, None]:
        return _sums(grad_MD, None, ctx.dispatch), None


class _Combine(torch.autograd.Function):
    """Rows to tokens, weighted, in one pass that writes down no product."""

    @staticmethod
    def forward(ctx: Any, rows_MO: Tensor, weight_NK: Tensor, dispatch: Dispatch) -> Tensor:
        ctx.save_for_backward(rows_MO, weight_NK)
        ctx.dispatch = dispatch
        return _sums(rows_MO, weight_NK, dispatch)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_NO: Tensor) -> tuple[Tensor, Tensor, None]:
        (rows_MO, weight_NK), dispatch = ctx.saved_tensors, ctx.dispatch
        if (kernels := fused.kernels_for(rows_MO)) is not None:
            every_row, place_NK = dispatch.live_M is None, dispatch.place_NK
            return *kernels.combine_backward(grad_NO, rows_MO, weight_NK, place_NK, every_row=every_row), None
        grad_MO = _spread(grad_NO, dispatch)
        grad_weight_M, weight_M = _dots(rows_MO, grad_MO), weight_NK.flatten().index_select(0, dispatch.order_M)
        if dispatch.live_M is not None:
            weight_M = weight_M * dispatch.live_M
        grad_MO *= weight_M.unsqueeze(-1)
        grad_weight_M = torch.cat([grad_weight_M, grad_weight_M.new_zeros(1)])
        return grad_MO, grad_weight_M.index_select(0, dispatch.place_NK.flatten()).view_as(weight_NK), None


def _spread(x_ND: Tensor, dispatch: Dispatch) -> Tensor:
    """rows_MD: the token that each row's assignment belongs to."""
    token_M = dispatch.order_M // dispatch.place_NK.shape[1]
    return torch.index_select(x_ND, 0, token_M, out=huge_pages.empty((len(token_M), x_ND.shape[1]), x_ND))


def _sums(rows_MD: Tensor, weight_NK: Tensor | None, dispatch: Dispatch) -> Tensor:
    """x_ND: each token's rows added up, weighted or not, in the order of its choices; place M reads zeros."""
    if (kernels := fused.kernels_for(rows_MD)) is not None:
        return kernels.combine(rows_MD, weight_NK, dispatch.place_NK)
    if dispatch.drops:
        rows_MD = torch.cat([rows_MD, rows_MD.new_zeros(1, rows_MD.shape[1])])
    return F.embedding_bag(dispatch.place_NK, rows_MD, per_sample_weights=weight_NK, mode="sum")


def _dots(a_MD: Tensor, b_MD: Tensor) -> Tensor:
    """The inner product of each row of one with that of the other; on a CPU as products, which write nothing down."""
    if devices.on_cpu(a_MD):
        return torch.bmm(a_MD.unsqueeze(1), b_MD.unsqueeze(2)).flatten()
    return (a_MD * b_MD).sum(1)


def capacity(tokens: int, top_k: int, num_experts: int, factor: float) -> int:
    """Places an expert has for one input of T tokens: min(T, ceil(T K factor / E))."""
    # A hair less than the quotient, because 100 * 1.1 / 2 is 55.00000000000001 and has to be 55 places.
    return min(tokens, math.ceil(tokens * top_k * factor / num_experts - 1e-9))


def capacity_of_real(token_mask_BT: Tensor, top_k: int, num_experts: int, factor: float) -> Tensor:
    """places_B1: :func:`capacity` for the number of each input's real tokens."""
    by_length = [capacity(tokens, top_k, num_experts, factor) for tokens in range(token_mask_BT.shape[1] + 1)]
    return torch.tensor(by_length, device=token_mask_BT.device)[token_mask_BT.sum(1, keepdim=True)]


def place_in_capacity(
    chosen_BTK: Tensor,
    num_experts: int,
    factor: float,
    *,
    priority_BT: Tensor | None = None,
    token_mask_BT: Tensor | None = None,
) -> Tensor:
    """kept_BTK: whether each choice finds room among its expert's places in that input, see :func:`capacity`.

    All first choices are placed before any second choice; within a choice tokens come in their order, or by
    descending priority (Riquelme et al., arXiv 2106.05974, section 4). Padding takes no place and is not in
    T.
    """
    num_inputs, num_tokens, top_k = chosen_BTK.shape
    queue_BT = torch.arange(num_tokens, device=chosen_BTK.device).expand(num_inputs, -1)
    if priority_BT is not None:
        queue_BT = priority_BT.sort(dim=1, descending=True, stable=True).indices
    queue_BTK = queue_BT.unsqueeze(-1).expand_as(chosen_BTK)
    # The order in which choices are placed: all first ones along the queue, then all second ones.
    expert_BA = chosen_BTK.gather(1, queue_BTK).mT.flatten(1)
    wants_BAE = F.one_hot(expert_BA, num_experts)
    places: int | Tensor = capacity(num_tokens, top_k, num_experts, factor)
    if token_mask_BT is not None:
        wants_BAE = wants_BAE * token_mask_BT.gather(1, queue_BT).repeat(1, top_k).unsqueeze(-1)
        places = capacity_of_real(token_mask_BT, top_k, num_experts, factor)
    filled_BA = wants_BAE.cumsum(1).gather(2, expert_BA.unsqueeze(-1)).squeeze(-1)
    kept_BTK = (filled_BA <= places).view(num_inputs, top_k, num_tokens).mT
    kept_BTK = torch.empty_like(kept_BTK).scatter_(1, queue_BTK, kept_BTK)
    return kept_BTK if token_mask_BT is None else kept_BTK & token_mask_BT.unsqueeze(-1)
