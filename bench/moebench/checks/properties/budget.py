"""The budget is met, and nothing stands beside it."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from moebench.budgets import TOLERANCE, Budget, check_rules, count_flops, count_layer, count_layers, solve
from moebench.budgets.count import build_on_meta
from moebench.checks.compare import listed
from moebench.checks.subject import Subject, ladder
from moebench.contract import Context, Layer, Routing, Settings
from moebench.errors import BudgetError

SIZES = (1, 2, 3, 5, 8, 16, 32)
IMPOSSIBLE = 10
COMMON = 400_000
"""A budget as suites have it: a buffer with a number an expert is nothing beside it."""


def check_budget_is_met(subject: Subject) -> None:
    """At three budgets its built layers hold the parameters that were asked for, within 1 %."""
    for amount in ladder(subject.shape):
        settings, layers = _layers_at(subject, amount)
        real = count_layers(layers).total
        planned = solve(subject.variant, subject.budget(amount), settings).counts.total
        sizes = subject.sizes(settings, amount)
        if abs(real - amount) > TOLERANCE * amount:
            raise subject.failed(
                f"holds {real:,} parameters in {len(layers)} layers of size {listed(list(sizes))} where the "
                f"budget is {amount:,}; on the meta device, where parameters are counted, it holds "
                f"{planned:,}."
            )


def check_parameters_grow_with_size(subject: Subject) -> None:
    """A larger size has more parameters, as the solver of the budget needs it."""
    settings = subject.defaults()
    totals = [count_layer(build_on_meta(subject.variant, subject.shape, s, settings)).total for s in SIZES]
    for (small, fewer), (large, more) in pairwise(zip(SIZES, totals, strict=True)):
        if more <= fewer:
            raise subject.failed(
                f"has {fewer:,} parameters at size {small} and {more:,} at size {large}: they must grow with size."
            )


def check_impossible_budget_is_refused(subject: Subject) -> None:
    """A budget below its smallest layer ends in a BudgetError that names the nearest it reaches."""
    try:
        reached = solve(subject.variant, subject.budget(IMPOSSIBLE), subject.defaults())
    except BudgetError as error:
        if not error.facts.get("nearest"):
            raise subject.failed(f"refuses a budget of {IMPOSSIBLE} without naming the nearest it reaches.") from None
        return
    raise subject.failed(
        f"claims {reached.amount:,} parameters at size {listed(list(reached.sizes))} for a budget of "
        f"{IMPOSSIBLE}, fewer than one layer needs."
    )


def check_rules_of_the_budget(subject: Subject) -> None:
    """Its buffers stay below 0.1 % of its parameters, and its FLOPs within 1.1 times those of dense layers."""
    for settings in (subject.defaults(COMMON), *subject.sampled(3, seed=1, amount=COMMON)):
        sizes = subject.sizes(settings, COMMON)
        layers = _build_all(subject, subject.budget(COMMON), sizes, settings)
        _hold_rules(subject, layers, f"a budget of {COMMON:,}{subject.words(settings, COMMON)}")


def _hold_rules(subject: Subject, layers: list[Layer], where: str) -> None:
    shapes = subject.budget(COMMON).shapes
    flops = sum(count_flops(layer, shape) for layer, shape in zip(layers, shapes, strict=True))
    broken = check_rules("total", shapes, count_layers(layers), flops, experts=layers[0].num_experts)
    if broken:
        raise subject.failed(f"breaks a rule of the board at {where}: {broken}")


def check_nominal_routing_is_honest(subject: Subject) -> None:
    """The routing whose FLOPs are quoted costs no less than a real one."""
    for built in subject.trials():
        quoted = count_flops(built.layer, subject.shape)
        real = count_flops(_AsRouted(built.layer), subject.shape)
        if real > 1.05 * quoted:
            raise subject.failed(
                f"quotes {quoted:,} FLOPs an input at nominal_routing(), but needs {real:,} for "
                f"{subject.shape.tokens} random tokens{built.words}."
            )


class _AsRouted(Layer):
    """A layer whose nominal routing is the one it really takes."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.layer = layer

    def route(self, x_BTD: Tensor, context: Context) -> Routing:
        return self.layer.route(x_BTD, context)

    def compute(self, x_BTD: Tensor, routing: Routing, keep_BE: Tensor | None = None) -> Tensor:
        return self.layer.compute(x_BTD, routing, keep_BE)


def _layers_at(subject: Subject, amount: int) -> tuple[Settings, list[Layer]]:
    settings = subject.defaults(amount)
    sizes = subject.sizes(settings, amount)
    return settings, _build_all(subject, subject.budget(amount), sizes, settings)


def _build_all(subject: Subject, budget: Budget, sizes: tuple[int, ...], settings: Settings) -> list[Layer]:
    torch.manual_seed(0)
    built = zip(budget.shapes, sizes, strict=True)
    return [subject.variant.layer(shape, size, settings) for shape, size in built]
