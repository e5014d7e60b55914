"""Experts one after the other with oneDNN's products, see ``parts/expert_by_expert.py``. Float32 on a CPU."""

from __future__ import annotations

from torch import Tensor

from moevariants.backends import loop
from moevariants.parts import onednn
from moevariants.parts.expert_by_expert import in_turns
from moevariants.parts.experts import Experts, counts_of_all


def run(experts: Experts, rows_ND: Tensor, counts_E: Tensor, most: int | None = None) -> Tensor:
    """One expert after the other with oneDNN's products, in float32 on a CPU.

    The loop takes over where they do not work, or where there are no rows.
    """
    if not len(rows_ND) or not onednn.serves(rows_ND, experts.w_in_EDH, experts.w_out_EHO):
        return loop.run(experts, rows_ND, counts_E, most)
    return in_turns(rows_ND, counts_of_all(rows_ND, counts_E), experts.stacks, experts.activation)


def available() -> str | None:
    """Why it cannot work on this machine, or None."""
    return None if onednn.available() else "torch has no product of oneDNN's here"
