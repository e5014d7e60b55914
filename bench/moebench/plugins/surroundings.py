"""What another author's code could change for all: functions of torch and of moebench, and torch's settings."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from types import CellType, CodeType, FunctionType
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
    """Make each as it was before, wrappers of torch's compiler included, which :func:`replaced` does not name."""
    for (owner, name), value in before.items():
        if vars(owner).get(name) is not value:
            setattr(owner, name, value)


def replaced(before: Mapping[Place, Any]) -> list[str]:
    """Names of those that are others than they were, such as ``torch.nn.functional.cross_entropy``; not of those around
    which torch has put its own, as it does where a layer uses ``torch.compile``.
    """
    now = ((place, value, vars(place[0]).get(place[1])) for place, value in before.items())
    return sorted(_name(*place) for place, value, found in now if found is not value and not _wraps(found, value))


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


def _wraps(found: Any, before: Any) -> bool:
    """Whether it is a function of torch's compiler that calls nothing but the one that was there before."""
    if not isinstance(found, FunctionType) or found.__code__ not in _codes_of_compiler(found.__globals__):
        return False
    cells = [cell.cell_contents for cell in found.__closure__ or () if cell != CellType()]
    called = [each for each in cells if callable(each) and not type(each).__module__.startswith("torch.")]
    # One of the wrappers keeps its own there, and calls that.
    kept = vars(before).get("__dynamo_disable")
    return [each is before for each in called] == [True] and (kept is None or _wraps(kept, before))


def _codes_of_compiler(names: Mapping[str, Any]) -> set[CodeType]:
    """The code in functions and methods of one of its modules, those inside others included; nothing of any other."""
    name = names.get("__name__", "")
    if not name.startswith(("torch._dynamo.", "torch._compile")) or vars(sys.modules.get(name, torch)) is not names:
        return set()
    classes = [each for each in names.values() if isinstance(each, type) and each.__module__ == name]
    below = [
        f.__code__ for group in (names, *map(vars, classes)) for f in group.values() if isinstance(f, FunctionType)
    ]
    codes = set[CodeType]()
    while below:
        codes.add(code := below.pop())
        below += [each for each in code.co_consts if isinstance(each, CodeType)]
    return codes


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
