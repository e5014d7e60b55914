"""The default: the grouped product where it works and wins, else the loop."""

from __future__ import annotations

from torch import Tensor

from moevariants.backends import grouped, loop
from moevariants.parts.experts import Experts

FEWEST_EXPERTS = 4
"""Below it the loop is as fast, and exact in every type."""


def run(experts: Experts, rows_ND: Tensor, counts_E: Tensor) -> Tensor:
    """rows_NO by whichever backend suits."""
    if experts.num_experts < FEWEST_EXPERTS or grouped.available() is not None:
        return loop.run(experts, rows_ND, counts_E)
    return grouped.run(experts, rows_ND, counts_E)
