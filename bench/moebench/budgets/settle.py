"""What settings must meet before they become a trial: the budget, its rules, and the place in the host."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from moebench.budgets.count import Counts, build_on_meta
from moebench.budgets.first_call import try_layer
from moebench.budgets.flops import FlopsBounds, dense_flops, flops_bounds, flops_of_layers
from moebench.budgets.place import check_claims, try_claims
from moebench.budgets.solve import Axis, Budget, Solution, solve
from moebench.contract import Choice, LayerShape, Settings, Space, Variant
from moebench.contract.space import narrowed
from moebench.errors import BudgetError


def settle(variant: Variant, budget: Budget, settings: Settings) -> Solution:
    """As :func:`solve`, and :class:`BudgetError` too where the sizes that meet the budget break a rule.

    :class:`HostError` where the variant, or the layer that it builds with these settings, has no place in the host,
    :class:`LayerError` where the layer cannot be trained.
    """
    check_claims(variant, budget.shapes[0])
    solution = solve(variant, budget, settings)
    places = list(zip(budget.shapes, solution.sizes, strict=True))
    layers = [build_on_meta(variant, shape, size, settings) for shape, size in places]
    flops = flops_of_layers(variant, budget.shapes, solution.sizes, settings)
    bounds = flops_bounds(layers, budget.shapes, causal=variant.causal)
    broken = check_rules(
        budget.axis, budget.shapes, solution.counts, flops, experts=layers[0].num_experts, bounds=bounds
    )
    if broken:
        raise BudgetError(f"{variant.name}: {broken}", code="breaks-budget-rule", variant=variant.name, rule=broken)
    try_claims(variant, budget.shapes[0], solution.sizes[0], settings)
    try_layer(variant, budget.shapes[0], solution.sizes[0], settings)
    return solution


Fits = Callable[[Settings], bool]
"""Whether settings meet a budget."""


def reachable(fits: Fits, space: Space) -> Space:
    """The space without options that, beside the defaults, cannot meet the budget; of a choice without any, all stay,
    so that whoever sizes the variant finds the budget unreachable.
    """
    kept = Space(space)
    for name, dimension in space.items():
        if isinstance(dimension, Choice) and len(dimension.options) > 1:
            options = tuple(o for o in dimension.options if fits({**kept.defaults(), name: o}))
            kept[name] = narrowed(dimension, options or dimension.options)
    return kept


BUFFER_SHARE = 0.001
FLOPS_OVER_DENSE = 1.1
NO_BOUNDS = FlopsBounds(0, math.inf)


def check_rules(
    axis: Axis,
    shapes: Sequence[LayerShape],
    counts: Counts,
    flops: int,
    *,
    experts: int,
    bounds: FlopsBounds = NO_BOUNDS,
) -> str:
    """The rule that is broken, as one sentence; empty if none is.

    Floating-point buffers hold at most 0.1 % of the parameters. On the total axis FLOPs per input stay within
    1.1 x dense. On every axis they stay within 1.1 x 2 T times the active parameters, times a layer's ``passes``; on
    the axis of FLOPs they reach 0.9 x of it, else the counter does not see them. On the active axis a layer with
    experts must leave some of them idle.
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
    if flops > bounds.most:
        return (
            f"its layers need {flops:,} FLOPs per input, over the {int(bounds.most):,} that are 1.1 times what its "
            "active parameters take when each token passes them once; a layer that does so more often says how often "
            "in `passes`."
        )
    if axis == "flops" and flops < bounds.least:
        return (
            f"only {flops:,} FLOPs per input are seen of its layers, under the {int(bounds.least):,} that are 0.9 "
            "times what its active parameters take; the counter does not know its kernels, and it has no place here."
        )
    if axis == "active" and experts and counts.active >= counts.total:
        return "all its parameters are active, so it has no place on the active axis beside dense."
    return ""
