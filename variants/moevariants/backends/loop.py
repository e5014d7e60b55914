"""The readable oracle: one expert after the other."""

from __future__ import annotations

import torch
from torch import Tensor

from moevariants.parts.experts import Experts, by_expert


def run(experts: Experts, rows_ND: Tensor, counts_E: Tensor, most: int | None = None) -> Tensor:
    """One expert after the other: the readable oracle that every other backend is checked against.

    An expert without rows is passed over, its weights unread.
    """
    # Unbound once: indexing the stack in the loop makes every backward allocate the whole stack per expert.
    w_in, b_in, w_out, b_out = zip(*experts.stacks.unbind(), strict=True)
    turns = by_expert(rows_ND, counts_E)
    hidden = [(e, experts.activate(_affine(rows_nD, w_in[e], b_in[e]))) for e, rows_nD in turns]
    return torch.cat([_affine(hidden_nH, w_out[e], b_out[e]) for e, hidden_nH in hidden])


def _affine(rows_nD: Tensor, weight_DH: Tensor, bias_H: Tensor | None) -> Tensor:
    return rows_nD @ weight_DH if bias_H is None else torch.addmm(bias_H, rows_nD, weight_DH)
