"""The budget is met, and nothing stands beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from moebench.budgets import TOLERANCE, Budget, check_rules, count_flops, count_layer, count_layers, solve
from moebench.budgets.count import build_on_meta
from moebench.conformance.compare import count, listed
from moebench.conformance.subject import LADDER, Subject
from moebench.contract import Layer, Routing, Settings
from moebench.errors import BudgetError

SIZES = (1, 2, 3, 5, 8, 16, 32)
IMPOSSIBLE = 10


def check_budget_is_met(subject: Subject) -> None:
    """At three budgets its built layers hold the parameters that were asked for, within 1 %."""
    for amount in LADDER:
        settings, layers = _layers_at(subject, amount)
        real = count_layers(layers).total
        planned = solve(subject.variant, subject.budget(amount), settings).counts.total
        sizes = subject.sizes(settings, amount)
        if abs(real - amount) > TOLERANCE * amount:
            raise subject.failed(
                f"holds {real:,} parameters in {len(layers)} layers of size {listed(list(sizes))} where the budget is "
                f"{amount:,}; on the meta device, where parameters are counted, it holds {planned:,}."
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
    budget = subject.budget(IMPOSSIBLE)
    try:
        subject.variant.space(subject.shape, budget)
    except BudgetError:
        pass
    except Exception as error:
        raise subject.failed(
            f"raises {type(error).__name__} ({error}) in space() for a budget of {IMPOSSIBLE} parameters; leave one "
            "option standing, or raise BudgetError."
        ) from None
    try:
        reached = solve(subject.variant, budget, subject.defaults())
    except BudgetError as error:
        if not error.nearest:
            raise subject.failed(f"refuses a budget of {IMPOSSIBLE} without naming the nearest it reaches.") from None
        return
    raise subject.failed(
        f"claims {reached.amount:,} parameters at size {listed(list(reached.sizes))} for a budget of {IMPOSSIBLE}, "
        "fewer than one layer needs."
    )


def check_nothing_is_hidden(subject: Subject) -> None:
    """All its modules and tensors are registered, and none comes into being during a forward pass."""
    for built in subject.trials():
        before = count_layer(built.layer)
        _complain(subject, built.layer, built.words)
        built.layer(subject.inputs())
        after = count_layer(built.layer)
        if after != before:
            raise subject.failed(
                f"has {before.total:,} parameters and {before.float_buffers:,} buffer elements before its first forward "
                f"pass and {after.total:,} and {after.float_buffers:,} after it{built.words}."
            )
        _complain(subject, built.layer, f" after a forward pass{built.words}")


def _complain(subject: Subject, layer: Layer, when: str) -> None:
    registered = {id(thing) for thing in (*layer.modules(), *layer.parameters(), *layer.buffers())}
    for place, thing in _unregistered(layer, registered):
        if isinstance(thing, nn.Module):
            raise subject.failed(
                f"keeps a {type(thing).__name__} in the plain attribute '{place}'{when}, where its parameters are not "
                "counted, saved or trained: use nn.ModuleList or nn.ModuleDict."
            )
        raise subject.failed(
            f"keeps {count(thing.numel(), 'number')} in the plain attribute '{place}'{when}: register them as a "
            "parameter or a buffer, or do not keep them."
        )


def _unregistered(layer: Layer, registered: set[int]) -> Iterator[tuple[str, Tensor | nn.Module]]:
    for name, module in layer.named_modules():
        for attribute, value in vars(module).items():
            if attribute not in ("_parameters", "_buffers", "_modules"):
                for thing in _inside(value):
                    if id(thing) not in registered:
                        yield f"{name}.{attribute}".lstrip("."), thing


def _inside(value: Any, depth: int = 3) -> Iterator[Tensor | nn.Module]:
    """Tensors and modules in a value, through lists, tuples, sets, dicts and dataclasses."""
    if isinstance(value, Tensor | nn.Module):
        yield value
    elif depth and isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _inside(item, depth - 1)
    elif depth and isinstance(value, dict):
        yield from _inside(list(value.values()), depth - 1)
    elif depth and dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from _inside([getattr(value, each.name) for each in dataclasses.fields(value)], depth - 1)


def check_rules_of_the_budget(subject: Subject) -> None:
    """At three budgets its buffers stay below 0.1 % of its parameters and its FLOPs within 1.1 times dense."""
    for amount in LADDER:
        settings, layers = _layers_at(subject, amount)
        _hold_rules(subject, layers, f"a budget of {amount:,}")
    for built in subject.trials(samples=3):
        sizes = subject.sizes(built.settings)
        layers = _build_all(subject, subject.budget(), sizes, built.settings)
        _hold_rules(subject, layers, f"a budget of {LADDER[0]:,}{built.words}")


def _hold_rules(subject: Subject, layers: list[Layer], where: str) -> None:
    shapes = subject.budget().shapes
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
                f"quotes {quoted:,} FLOPs an input at nominal_routing(), but needs {real:,} for {subject.shape.tokens} "
                f"random tokens{built.words}."
            )


class _AsRouted(Layer):
    """A layer whose nominal routing is the one it really takes."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.layer = layer

    def route(self, x_BTD: Tensor, token_mask_BT: Tensor | None = None) -> Routing:
        return self.layer.route(x_BTD, token_mask_BT)

    def compute(self, x_BTD: Tensor, routing: Routing, keep_BE: Tensor | None = None) -> Tensor:
        return self.layer.compute(x_BTD, routing, keep_BE)


def check_active_parameters_are_counted(subject: Subject) -> None:
    """active_parameters() counts every parameter, less only the share of the experts that a token did not choose."""
    for built in subject.trials():
        layer, counts = built.layer, count_layer(built.layer)
        least = Layer.active_parameters(layer)
        if counts.active > counts.total:
            raise subject.failed(f"counts {counts.active:,} active of {counts.total:,} parameters{built.words}.")
        if counts.active < least:
            raise subject.failed(
                f"counts {counts.active:,} active parameters{built.words}, but at least {least:,} act on a token: all "
                f"{counts.total:,}, less those of the experts it did not choose."
            )


def _layers_at(subject: Subject, amount: int) -> tuple[Settings, list[Layer]]:
    settings = subject.defaults(amount)
    sizes = subject.sizes(settings, amount)
    return settings, _build_all(subject, subject.budget(amount), sizes, settings)


def _build_all(subject: Subject, budget: Budget, sizes: tuple[int, ...], settings: Settings) -> list[Layer]:
    torch.manual_seed(0)
    built = zip(budget.shapes, sizes, strict=True)
    return [subject.variant.build(shape, size, settings) for shape, size in built]
