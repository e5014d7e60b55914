"""Soft mixtures of experts, from tokens to tokens: all slots, some slots, or no slots at all."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from moevariants.parts import devices
from moevariants.parts.experts import Experts


class SoftWeights(NamedTuple):
    """dispatch_BTS and combine_BTS of S = E P slots; slot s belongs to expert s // P."""

    dispatch_BTS: Tensor
    combine_BTS: Tensor


def mix_all(experts: Experts, tokens_BTD: Tensor, weights: SoftWeights) -> Tensor:
    """y_BTO with every expert at work."""
    if _tokens_first_pays(experts, tokens_BTD, weights):
        return _tokens_first(experts, tokens_BTD, weights)
    out_BSO = all_slots(experts, tokens_BTD, weights)
    y_BTO: Tensor = weights.combine_BTS.to(out_BSO.dtype) @ out_BSO
    return y_BTO


def all_slots(experts: Experts, tokens_BTD: Tensor, weights: SoftWeights) -> Tensor:
    """out_BSO: what the experts make of each slot's mean of the tokens."""
    slots_BSD = _slots(tokens_BTD, weights.dispatch_BTS)
    num_inputs, num_slots, dim = slots_BSD.shape
    num_experts, of_one = experts.count, num_slots // experts.count
    slots_END = slots_BSD.view(num_inputs, num_experts, of_one, dim).transpose(0, 1).flatten(1, 2)
    out_ENO = experts.forward_slots(slots_END)
    return out_ENO.view(num_experts, num_inputs, of_one, -1).transpose(0, 1).flatten(1, 2)


def mix_kept(experts: Experts, tokens_BTD: Tensor, weights: SoftWeights, keep_BE: Tensor) -> Tensor:
    """y_BTO of the experts in ``keep_BE`` alone (Algorithm 2 of arXiv 2409.00879, as it is meant).

    Only columns of kept slots take part, k P of them for each input, k the most that any input keeps; an input
    that keeps fewer has columns to spare, whose outputs are 0. Only kept (expert, input) pairs reach an expert,
    and an expert that no input keeps is not read.
    """
    expert_M, input_M = keep_BE.t().nonzero(as_tuple=True)
    num_inputs, num_slots = len(keep_BE), weights.combine_BTS.shape[2] // experts.count
    column_M = (keep_BE.cumsum(1) - 1)[input_M, expert_M]
    columns = int(column_M.max()) + 1 if len(column_M) else 0
    expert_Bk = expert_M.new_zeros(num_inputs, columns).index_put((input_M, column_M), expert_M)
    slot_Bs = (expert_Bk.unsqueeze(2) * num_slots + torch.arange(num_slots, device=keep_BE.device)).flatten(1)
    dispatch_BTs, combine_BTs = (_columns(weight_BTS, slot_Bs) for weight_BTS in weights)
    slots_BkPD = _slots(tokens_BTD, dispatch_BTs).view(num_inputs, columns, num_slots, tokens_BTD.shape[2])
    rows_ND = slots_BkPD[input_M, column_M].flatten(0, 1)
    rows_NO = experts.forward_rows(rows_ND, keep_BE.sum(0) * num_slots)
    out_BkPO = rows_NO.new_zeros(num_inputs, columns, num_slots, rows_NO.shape[1])
    out_BkPO = out_BkPO.index_put((input_M, column_M), rows_NO.view(len(input_M), num_slots, rows_NO.shape[1]))
    y_BTO: Tensor = combine_BTs.to(rows_NO.dtype) @ out_BkPO.flatten(1, 2)
    return y_BTO


def _slots(tokens_BTD: Tensor, dispatch_BTS: Tensor) -> Tensor:
    slots_BSD: Tensor = dispatch_BTS.mT.to(tokens_BTD.dtype) @ tokens_BTD
    return slots_BSD


def _columns(weight_BTS: Tensor, slot_Bs: Tensor) -> Tensor:
    return weight_BTS.gather(2, slot_Bs.unsqueeze(1).expand(-1, weight_BTS.shape[1], -1))


def _tokens_first_pays(experts: Experts, tokens_BTD: Tensor, weights: SoftWeights) -> bool:
    """Where the hidden units of all tokens are few beside the width, as with many tiny experts.

    A choice of "auto" alone, so that the FLOPs that the loop counts are those of the equations. One thread, 256
    inputs, T = 4, D = 196, P = 1, forward and backward, slots first against tokens first: E = 512, H = 1 408
    against 28 ms; 128, 7 97 against 31; 64, 15 50 against 30; 64, 31 58 against 54; 32, 31 22 against 30.
    """
    (_, num_tokens, dim), hidden = tokens_BTD.shape, experts.w_in_EDH.shape[2]
    return (
        experts.backend == "auto"
        and devices.on_cpu(tokens_BTD)
        and not torch.is_autocast_enabled("cpu")
        and weights.combine_BTS.shape[2] == experts.count
        and 3 * num_tokens * hidden <= min(dim, experts.w_out_EHO.shape[2])
    )


def _tokens_first(experts: Experts, tokens_BTD: Tensor, weights: SoftWeights) -> Tensor:
    """The same sums in another order, for P = 1: sum_t d_te (x_t W_e) instead of (sum_t d_te x_t) W_e, and back.

    Two large products replace many thin ones, and no slot is ever written down.
    """
    dispatch_BTE, combine_BTE = (weight_BTS.to(tokens_BTD.dtype) for weight_BTS in weights)
    num_experts, dim, hidden = experts.w_in_EDH.shape
    units_BTEH = tokens_BTD @ experts.w_in_EDH.transpose(0, 1).reshape(dim, num_experts * hidden)
    units_BTEH = units_BTEH.view(*units_BTEH.shape[:2], num_experts, hidden)
    hidden_BEH = (dispatch_BTE.unsqueeze(3) * units_BTEH).sum(1)
    if experts.b_in_EH is not None:
        hidden_BEH = hidden_BEH + experts.b_in_EH
    hidden_BEH = experts.activate(hidden_BEH)
    shares_BTEH = combine_BTE.unsqueeze(3) * hidden_BEH.unsqueeze(1)
    y_BTO: Tensor = shares_BTEH.flatten(2) @ experts.w_out_EHO.flatten(0, 1)
    return y_BTO if experts.b_out_EO is None else y_BTO + combine_BTE @ experts.b_out_EO
