"""The default: on a CPU turns where experts are large enough, else the grouped product, or the loop for a few.

On a GPU without a fast grouped product experts with a capacity are padded to it, which waits for nothing; others take
the loop.
"""

from __future__ import annotations

from torch import Tensor

from moevariants.backends import grouped, loop, onednn, padded
from moevariants.parts import devices
from moevariants.parts.expert_by_expert import pays
from moevariants.parts.experts import Experts

FEWEST_EXPERTS = 8
"""On a CPU, below it, the loop is as fast (2,048 rows, D 64, forward and backward, one thread, float32).

Measured there: E = 4 8 ms either way; 8 5.2 against 4.7; 16 4.7 against 2.9; 64 6.7 against 2.5 for grouped.
"""


def run(experts: Experts, rows_ND: Tensor, counts_E: Tensor, most: int | None = None) -> Tensor:
    """rows_NO by whichever backend suits."""
    if pays(rows_ND, experts.stacks, len(rows_ND) / experts.count):
        return onednn.run(experts, rows_ND, counts_E, most)
    on_cpu = devices.on_cpu(rows_ND)
    if not (on_cpu and experts.count < FEWEST_EXPERTS) and grouped.serves(experts, rows_ND):
        return grouped.run(experts, rows_ND, counts_E)
    if on_cpu or most is None:
        return loop.run(experts, rows_ND, counts_E)
    return padded.run(experts, rows_ND, counts_E, most)
