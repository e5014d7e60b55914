"""What another author's code could change for all: functions of torch and of moebench, and torch's settings."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from moebench.plugins.torch_settings import TORCH_SETTINGS

MODULES = ("torch", "torch.autograd", "torch.nn.functional", "torch.nn.utils")
"""Of torch, whose functions training and scoring call; and every loaded module of moebench."""

CLASSES = (
    torch.Tensor,
    torch.nn.Module,
    torch.nn.Parameter,
    torch.optim.Optimizer,
    torch.optim.Adam,
    torch.optim.AdamW,
)

Place = tuple[Any, str]
"""A module or class, and the name that something has there."""


def functions() -> dict[Place, Any]:
    """All of them by their place: functions, methods and classes."""
    found = dict[Place, Any]()
    for owner in _owners():
        found |= {(owner, name): value for name, value in vars(owner).items() if _is_code(value)}
    return found


def put_back(before: Mapping[Place, Any]) -> None:
    """Undo what :func:`replaced` names."""
    for (owner, name), value in before.items():
        if vars(owner).get(name) is not value:
            setattr(owner, name, value)


def replaced(before: Mapping[Place, Any]) -> list[str]:
    """Names of those that are others than they were, such as ``torch.nn.functional.cross_entropy``."""
    return sorted(_name(owner, name) for (owner, name), value in before.items() if vars(owner).get(name) is not value)


class Surroundings:
    """All of it as it is when this is made, before another author's code is imported."""

    def __init__(self) -> None:
        self._functions = functions()
        self._settings = [(thing, thing.read()) for thing in TORCH_SETTINGS]

    def replaced(self) -> list[str]:
        """Names of the functions that are others now."""
        return replaced(self._functions)

    def changed(self) -> list[str]:
        """Names of the settings of torch that are others now."""
        return [thing.name for thing, value in self._settings if thing.read() != value]


def _owners() -> Iterator[Any]:
    """Modules and classes; a class of moebench at the module that defines it."""
    yield from CLASSES
    for name, module in list(sys.modules.items()):
        if module is not None and (name in MODULES or name.startswith("moebench.")):
            yield module
            yield from (each for each in vars(module).values() if isinstance(each, type) and each.__module__ == name)


def _is_code(value: Any) -> bool:
    return callable(value) or isinstance(value, staticmethod | classmethod | property)


def _name(owner: Any, name: str) -> str:
    where = f"{owner.__module__}.{owner.__qualname__}" if isinstance(owner, type) else owner.__name__
    return f"{where}.{name}"
