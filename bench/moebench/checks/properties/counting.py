"""What is counted is all there is."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from moebench.budgets import count_layer
from moebench.budgets.count import experts_per_token
from moebench.checks.compare import count
from moebench.checks.outcome import NotApplicable
from moebench.checks.subject import Subject
from moebench.contract import Context, Layer


def check_nothing_is_hidden(subject: Subject) -> None:
    """All its modules and tensors are registered, and none comes into being during a forward pass."""
    for built in subject.trials():
        before = count_layer(built.layer)
        _complain(subject, built.layer, built.words)
        built.layer(subject.inputs())
        after = count_layer(built.layer)
        if after != before:
            raise subject.failed(
                f"has {before.total:,} parameters and {before.float_buffers:,} buffer elements before its "
                f"first forward pass and {after.total:,} and {after.float_buffers:,} after it{built.words}."
            )
        _complain(subject, built.layer, f" after a forward pass{built.words}")


def _complain(subject: Subject, layer: Layer, when: str) -> None:
    registered = {id(thing) for thing in (*layer.modules(), *layer.parameters(), *layer.buffers())}
    for place, thing in _unregistered(layer, registered):
        if isinstance(thing, nn.Module):
            raise subject.failed(
                f"keeps a {type(thing).__name__} in the plain attribute '{place}'{when}, where its "
                "parameters are not counted, saved or trained: use nn.ModuleList or nn.ModuleDict."
            )
        raise subject.failed(
            f"keeps {count(thing.numel(), 'number')} in the plain attribute '{place}'{when}: register them "
            "as a parameter or a buffer, or do not keep them."
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


def check_active_parameters_are_counted(subject: Subject) -> None:
    """No more experts act on a token than its active parameters are counted for."""
    for built in subject.trials():
        combine_BTE = built.layer.route(subject.inputs(), Context()).combine_BTE
        if combine_BTE is None:
            raise NotApplicable("its routing gives no weights.")
        seen, claimed = float((combine_BTE != 0).sum(2).double().mean()), experts_per_token(built.layer)
        if seen > claimed + 1e-6:
            raise subject.failed(
                f"counts the active parameters of {claimed:g} experts a token (top_k, or mean_experts_per_token()), "
                f"but {seen:.2f} have weight{built.words}."
            )
