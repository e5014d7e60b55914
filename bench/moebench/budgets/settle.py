"""The budget, the rules about it and the place, together: what a setting must meet before it may become a trial."""

from __future__ import annotations

import dataclasses

from moebench.budgets.budget import Budget
from moebench.budgets.count import build_on_meta
from moebench.budgets.place import check_claims, try_claims
from moebench.budgets.rules import check_rules
from moebench.budgets.solve import Solution, flops_at, solve
from moebench.contract import Settings, Variant
from moebench.errors import BudgetError


def settle(variant: Variant, budget: Budget, settings: Settings) -> Solution:
    """As :func:`solve`, and :class:`BudgetError` too where the sizes that meet the budget break a rule.

    :class:`HostError` where the variant, or the layer that it builds with these settings, has no place in the host.
    """
    check_claims(variant, budget.shapes[0])
    solution = solve(variant, budget, settings)
    first = build_on_meta(variant, budget.shapes[0], solution.sizes[0], settings)
    flops = _flops(variant, budget, settings, solution) if budget.axis == "total" else 0
    broken = check_rules(budget.axis, budget.shapes, solution.counts, flops, experts=first.num_experts)
    if broken:
        raise BudgetError(f"{variant.name}: {broken}")
    try_claims(variant, budget.shapes[0], solution.sizes[0], settings)
    return solution


def _flops(variant: Variant, budget: Budget, settings: Settings, solution: Solution) -> int:
    """FLOPs per input of all layers, each kind built once."""
    known: dict[object, int] = {}
    total = 0
    for shape, size in zip(budget.shapes, solution.sizes, strict=True):
        alike = dataclasses.replace(shape, index=0)
        if (alike, size) not in known:
            known[alike, size] = flops_at(variant, alike, size, settings)
        total += known[alike, size]
    return total
