"""Tutel's dispatch: found where Tutel is installed, which is on no registry (see its own guide).

Its kernels move rows into a stack (E, C, D) and back; two batched products are between. What a layer decides (top-k,
capacity, priority, weights) is decided before a backend sees rows, so that there is nothing left for Tutel's gate to
decide otherwise: C is what the layer gives or the busiest expert has, each row has one expert and its place there, and
no row is dropped.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from tutel import moe  # fails without its compiled extension, which `import tutel` does not need

from moevariants.backends import loop
from moevariants.backends.padded import places_of
from moevariants.parts.experts import Experts

SWITCHES = ("CAP_FACTOR", "BATCH_PRIO", "SKIP_MOE", "SKIP_EXPERT", "FAST_CUMSUM")
"""Environment variables that Tutel reads; runs record those that are set."""


def run(experts: Experts, rows_ND: Tensor, counts_E: Tensor, most: int | None = None) -> Tensor:
    """Tutel's dispatch kernels around two batched products at a fixed capacity."""
    # It dispatches in float32 whatever it is given: more would be lost, and none is nothing to dispatch.
    if not len(rows_ND) or rows_ND.dtype == torch.float64:
        return loop.run(experts, rows_ND, counts_E, most)
    places = int(counts_E.max()) if most is None else min(most, len(rows_ND))
    expert_N, place_N = (each.int() for each in places_of(counts_E, len(rows_ND), places))
    sizes = (experts.count, places)
    stack_ED = _dispatcher(expert_N, place_N, sizes, rows_ND, there=True).encode(_even(rows_ND))
    stack_END = stack_ED.view(*sizes, -1)[..., : rows_ND.shape[1]]
    out_ENO = experts.forward_slots(stack_END)
    out_EO = _even(out_ENO.flatten(0, 1))
    rows_NO: Tensor = _dispatcher(expert_N, place_N, sizes, out_EO, there=False).decode(out_EO)
    return rows_NO[:, : out_ENO.shape[2]]


def _dispatcher(
    expert_N: Tensor, place_N: Tensor, sizes: tuple[int, int], rows: Tensor, *, there: bool
) -> moe.fast_dispatcher:
    """For one choice a row, without weights there or back. Its kernels on CUDA are kept whatever their type, so that
    they always have to be those of float32.
    """
    num_experts, places = sizes
    dispatcher = moe.fast_dispatcher(num_experts, places, (rows.shape[1] + 1) // 2 * 2, torch.float32)
    one_N = torch.ones(len(expert_N), device=rows.device)
    # "postscore": weights act on the way back. With it none are applied there, without it none are applied back.
    dispatcher.update([expert_N], [place_N], [one_N], capacity=places, is_postscore=there)
    dispatcher.original_dtype = rows.dtype
    return dispatcher


def _even(rows: Tensor) -> Tensor:
    """Contiguous, of even width: what its kernels need."""
    return (F.pad(rows, (0, 1)) if rows.shape[1] % 2 else rows).contiguous()
