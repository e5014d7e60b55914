"""The default: the grouped product where it works and wins, else the loop."""

from __future__ import annotations

from torch import Tensor

from moevariants.backends import grouped, loop
from moevariants.parts.experts import Experts
from moevariants.parts.mlp import is_big

FEWEST_EXPERTS = 8
"""On a CPU, below it, the loop is as fast (2,048 rows, D 64, forward and backward, one thread, float32).

Measured there: E = 4 8 ms either way; 8 5.2 against 4.7; 16 4.7 against 2.9; 64 6.7 against 2.5 for grouped.
"""


def run(experts: Experts, rows_ND: Tensor, counts_E: Tensor, most: int | None = None) -> Tensor:
    """rows_NO by whichever backend suits; big experts are worth a turn each, however many there are."""
    few = rows_ND.device.type == "cpu" and experts.num_experts < FEWEST_EXPERTS
    if few or is_big(rows_ND, experts.w_in_EDH) or grouped.available() is not None:
        return loop.run(experts, rows_ND, counts_E)
    return grouped.run(experts, rows_ND, counts_E)
