"""The budget of a run, and the sizes whose layers together come closest to it."""

from __future__ import annotations

import dataclasses
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

from moebench.budgets.count import Counts, build_on_meta, count_layer
from moebench.budgets.flops import flops_at
from moebench.budgets.place import named_settings
from moebench.contract import LayerShape, Settings, Variant
from moebench.errors import BudgetError

Axis = Literal["total", "active", "flops"]
AXES: tuple[str, ...] = get_args(Axis)

TOLERANCE = 0.01
"""A row further from the budget than this share is not ranked."""


@dataclass(frozen=True)
class Budget:
    """``amount`` parameters, or FLOPs per input on the axis ``flops``, over the layers that fill ``shapes``."""

    axis: Axis
    amount: int
    shapes: tuple[LayerShape, ...]


PLATEAU = 1024
"""A layer that costs the same at a size and at this many times it does not grow; steps may be shorter."""

LARGEST_SIZE = 2**26

STRIDE = 15
"""How many times its own size a step to the next may be, lest a wrong guess fill the memory."""


@dataclass(frozen=True)
class Solution:
    """A size for each layer (at most one apart), the amount they reach, and the counts of all layers."""

    sizes: tuple[int, ...]
    amount: int
    counts: Counts


def solve(variant: Variant, budget: Budget, settings: Settings, *, tolerance: float = TOLERANCE) -> Solution:
    """The sizes closest to the budget, within 1 % or another ``tolerance``; else :class:`BudgetError` with the nearest
    that it reaches.

    The amount must grow with size. The largest common size below the budget is looked for; then one layer after
    the other is made one unit larger, and the nearest of these steps wins.
    """
    costs = _Costs(variant, budget, settings)
    ladder = _steps_around(costs, budget)
    best = min(ladder, key=lambda step: (abs(step[0] - budget.amount), step[0]))
    if abs(best[0] - budget.amount) > tolerance * budget.amount:
        raise _unreachable(variant, budget, settings, tuple(amount for amount, _ in ladder))
    counts = sum((costs.counts(i, size) for i, size in enumerate(best[1])), Counts(0, 0, 0, 0))
    return Solution(sizes=best[1], amount=best[0], counts=counts)


class _Costs:
    """Amount of layer i at a size; layers of one shape are built once."""

    def __init__(self, variant: Variant, budget: Budget, settings: Settings) -> None:
        self.variant = variant
        # Layers that differ only in their place cost the same.
        self._alike = [dataclasses.replace(shape, index=0) for shape in budget.shapes]
        self._count: Callable[[LayerShape, int], Counts] = cache(
            lambda shape, size: count_layer(build_on_meta(variant, shape, size, settings))
        )
        self._flops: Callable[[LayerShape, int], int] = cache(
            lambda shape, size: flops_at(variant, shape, size, settings)
        )
        self._axis = budget.axis

    def counts(self, index: int, size: int) -> Counts:
        return self._count(self._alike[index], size)

    def amount(self, index: int, size: int) -> int:
        if self._axis == "flops":
            return self._flops(self._alike[index], size)
        counts = self.counts(index, size)
        return counts.total if self._axis == "total" else counts.active

    def all_at(self, size: int) -> int:
        return sum(self.amount(i, size) for i in range(len(self._alike)))

    def __len__(self) -> int:
        return len(self._alike)


def _steps_around(costs: _Costs, budget: Budget) -> list[tuple[int, tuple[int, ...]]]:
    """(amount, sizes) from the largest common size below the budget to the next one, a layer at a time."""
    base = _largest_below(costs, budget.amount)
    if base == 0:
        return [(costs.all_at(1), (1,) * len(costs))]
    steps = [(base + 1,) * grown + (base,) * (len(costs) - grown) for grown in range(len(costs) + 1)]
    return [(sum(costs.amount(i, size) for i, size in enumerate(sizes)), sizes) for sizes in steps]


def _largest_below(costs: _Costs, amount: int) -> int:
    """The largest size whose amount is at most the budget; 0 if even size 1 is above it."""
    if costs.all_at(1) > amount:
        return 0
    low, high = _bracket(costs, amount)
    tries = 0
    while high - low > 1:
        # Amounts are nearly always linear in size, and then this ends at once; if not, halving does.
        share = (amount - costs.all_at(low)) / (costs.all_at(high) - costs.all_at(low)) if tries < 4 else 0.5
        middle = min(max(low + int(share * (high - low)), low + 1), high - 1)
        low, high = (middle, high) if costs.all_at(middle) <= amount else (low, middle)
        tries += 1
    return low


def _bracket(costs: _Costs, amount: int) -> tuple[int, int]:
    """A size that is within the budget and one that is not, the latter not far above it."""
    low, high = 1, 2
    while (reached := costs.all_at(high)) <= amount:
        if high >= LARGEST_SIZE or (high >= PLATEAU and reached == costs.all_at(high // PLATEAU)):
            raise BudgetError(
                f"{costs.variant.name} does not grow with size: it reaches {reached:,} of {amount:,} at size "
                f"{high:,} and must use the size that build() is given.",
                code="ignores-size",
                nearest=(reached,),
            )
        growth = (reached - costs.all_at(1)) / (high - 1)
        expected = int((amount - reached) / growth) + 1 if growth else high
        low, high = high, high + min(max(expected, high // 2), STRIDE * high)
    return low, high


def _unreachable(variant: Variant, budget: Budget, settings: Settings, reachable: tuple[int, ...]) -> BudgetError:
    above = bisect_right(reachable, budget.amount)
    nearest = reachable[max(0, above - 1) : above + 1]
    unit = "FLOPs per input" if budget.axis == "flops" else f"{budget.axis} parameters"
    layers = "1 layer" if len(budget.shapes) == 1 else f"{len(budget.shapes)} layers"
    named = " and ".join(f"{amount:,}" for amount in nearest)
    return BudgetError(
        f"{variant.name} cannot meet {budget.amount:,} {unit} in {layers} with {named_settings(settings)}; "
        f"the nearest it reaches: {named}.",
        code="no-size-meets-budget",
        nearest=nearest,
    )
