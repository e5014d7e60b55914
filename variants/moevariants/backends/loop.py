"""The readable oracle: one expert after the other."""

from __future__ import annotations

import torch
from torch import Tensor

from moevariants.parts.experts import Experts


def run(experts: Experts, rows_ND: Tensor, counts_E: Tensor, most: int | None = None) -> Tensor:
    """One expert after the other: the readable oracle that every other backend is held to.

    An expert without rows is passed over, its weights unread.
    """
    # Unbound once: indexing the stack in the loop makes every backward allocate the whole stack per expert.
    w_in, w_out = experts.w_in_EDH.unbind(), experts.w_out_EHO.unbind()
    b_in, b_out = _unbind(experts.b_in_EH, len(w_in)), _unbind(experts.b_out_EO, len(w_in))
    counts = counts_E.tolist()
    counts[-1] += len(rows_ND) - sum(counts)  # rows of nobody
    by_expert = list(enumerate(torch.split(rows_ND, counts)))
    # With no rows at all one product of nothing gives the result its shape and its place in the graph.
    busy = [(e, rows_nD) for e, rows_nD in by_expert if len(rows_nD)] or by_expert[:1]
    hidden = [(e, experts.activate(_affine(rows_nD, w_in[e], b_in[e]))) for e, rows_nD in busy]
    return torch.cat([_affine(hidden_nH, w_out[e], b_out[e]) for e, hidden_nH in hidden])


def _affine(rows_nD: Tensor, weight_DH: Tensor, bias_H: Tensor | None) -> Tensor:
    return rows_nD @ weight_DH if bias_H is None else torch.addmm(bias_H, rows_nD, weight_DH)


def _unbind(bias_EH: Tensor | None, num_experts: int) -> tuple[Tensor | None, ...]:
    return (None,) * num_experts if bias_EH is None else bias_EH.unbind()
