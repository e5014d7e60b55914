"""Every expert at one fixed capacity: rows in a stack (E, C, D), two batched products, rows back.

C is the most rows that an expert can have, where the layer knows it (a capacity, experts that choose): then a GPU is
not waited for. Elsewhere it is the most that one has, which on a GPU must be asked for. What an expert lacks to C is
padding: zeros in, and never read again. Wins where the load is even; under a skewed one it works for nothing, and takes
memory for E C rows.
"""

from __future__ import annotations

import torch
from torch import Tensor

from moevariants.backends import loop
from moevariants.parts.experts import Experts


def run(experts: Experts, rows_ND: Tensor, counts_E: Tensor, most: int | None = None) -> Tensor:
    """Two batched products, every expert at one capacity; the loop takes over where there are no rows."""
    if not len(rows_ND):
        return loop.run(experts, rows_ND, counts_E, most)
    places = int(counts_E.max()) if most is None else min(most, len(rows_ND))
    expert_N, place_N = places_of(counts_E, len(rows_ND), places)
    place_N = expert_N * places + place_N
    stack = rows_ND.new_zeros(experts.count * places + 1, rows_ND.shape[1]).index_copy(0, place_N, rows_ND)
    out_ECO = experts.forward_slots(stack[:-1].view(experts.count, places, -1))
    out = out_ECO.flatten(0, 1)
    return torch.cat([out, out.new_zeros(1, out.shape[1])]).index_select(0, place_N)


def places_of(counts_E: Tensor, rows: int, places: int) -> tuple[Tensor, Tensor]:
    """Expert and place of each row; rows of nobody get the place behind those of the last expert."""
    ends_E = counts_E.cumsum(0)
    row_N = torch.arange(rows, device=counts_E.device)
    expert_N = torch.searchsorted(ends_E, row_N, right=True).clamp(max=len(counts_E) - 1)
    place_N = row_N - (ends_E - counts_E).index_select(0, expert_N)
    return expert_N, place_N.clamp(max=places)
