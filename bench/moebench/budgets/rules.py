"""Rules about budgets that a size cannot solve: what would make an equal budget unequal."""

from __future__ import annotations

from collections.abc import Sequence

from moebench.budgets.budget import Axis
from moebench.budgets.count import Counts
from moebench.budgets.flops import dense_flops
from moebench.contract import LayerShape

BUFFER_SHARE = 0.001
FLOPS_OVER_DENSE = 1.1


def check_rules(axis: Axis, shapes: Sequence[LayerShape], counts: Counts, flops: int, *, experts: int) -> str:
    """The rule that is broken, as one sentence; empty if none is.

    Floating-point buffers hold at most 0.1 % of the parameters. On the total axis FLOPs per input stay within
    1.1 x dense. On the active axis a layer with experts must leave some of them idle.
    """
    if counts.float_buffers > BUFFER_SHARE * counts.total:
        return (
            f"its layers hold {counts.float_buffers:,} elements in floating-point buffers beside "
            f"{counts.total:,} parameters; at most 0.1 % may be in buffers."
        )
    dense = dense_flops(shapes, counts.total)
    if axis == "total" and flops > FLOPS_OVER_DENSE * dense:
        return (
            f"its layers need {flops:,} FLOPs per input, over 1.1 times the {dense:,} of dense layers with the "
            "same parameters."
        )
    if axis == "active" and experts and counts.active >= counts.total:
        return "all its parameters are active, so it has no place on the active axis beside dense."
    return ""
