"""What a layer keeps outside its registered parameters, buffers and modules: where weights could hide."""

from __future__ import annotations

import dataclasses
import functools
import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor, nn

from moebench.contract import Layer
from moebench.plugins.beside import BUILT_IN, FRAMEWORKS

Kept = Tensor | nn.Module | np.ndarray

FEW = 64
"""Fewer floating-point numbers than this may stand in a class, in a module or in an array: they are constants."""

NOT_THE_AUTHORS = FRAMEWORKS | sys.stdlib_module_names | {BUILT_IN}


def kept(layer: Layer) -> Iterator[tuple[str, Kept]]:
    """(place, what) of all tensors, modules and arrays in plain attributes, in functions and objects there, in hooks,
    in the classes of the modules of the layer, and in the globals that the code of these classes names.
    """
    for name, module in layer.named_modules():
        for attribute, value in vars(module).items():
            if attribute not in ("_parameters", "_buffers", "_modules"):
                place = f"the plain attribute '{f'{name}.{attribute}'.lstrip('.')}'"
                yield from ((place, thing) for thing in _inside(value) if not _is_small_array(thing))
    for name, parameter in layer.named_parameters():
        yield from ((f"the hooks of {name}", thing) for thing in _inside(parameter._backward_hooks or {}))
    for place, value in _shared(layer):
        found = [thing for thing in _inside(value) if not _is_whole(thing)]
        if sum(map(numbers_in, found)) >= FEW:
            yield place, max(found, key=numbers_in)


def numbers_in(thing: Kept) -> int:
    """How many: of a module all in its parameters."""
    if isinstance(thing, nn.Module):
        return sum(parameter.numel() for parameter in thing.parameters())
    return thing.numel() if isinstance(thing, Tensor) else int(thing.size)


def _is_whole(thing: Kept) -> bool:
    """Whether it is a table of whole numbers, which is no weight."""
    return isinstance(thing, Tensor) and not (thing.is_floating_point() or thing.is_complex())


def _is_small_array(thing: Kept) -> bool:
    return isinstance(thing, np.ndarray) and thing.size < FEW


def _shared(layer: Layer) -> Iterator[tuple[str, Any]]:
    """(place, value) of what all layers of these classes share: class attributes, and globals, of the author's code."""
    waiting: list[Any] = [base for module in layer.modules() for base in type(module).__mro__]
    seen = set[int]()
    while waiting:
        code = waiting.pop()
        if id(code) in seen or _top(code) in NOT_THE_AUTHORS:
            continue
        seen.add(id(code))
        if isinstance(code, type):
            named = [(f"the class attribute '{code.__name__}.{name}'", each) for name, each in vars(code).items()]
        else:
            named = [(f"the global '{name}' of '{code.__module__}'", each) for name, each in _globals_of(code)]
            named += [("", cell.cell_contents) for cell in code.__closure__ or () if _is_full(cell)]
        for place, each in named:
            value = _unwrapped(each)
            if isinstance(value, type | types.FunctionType):
                waiting.append(value)
            if place and not isinstance(value, type):
                yield place, value


def _unwrapped(value: Any) -> Any:
    """The function of a method, a property, or what ``functools`` made of one."""
    if isinstance(value, property):
        return value.fget
    if isinstance(value, types.FunctionType | type):
        return value
    return getattr(value, "__func__", None) or getattr(value, "__wrapped__", None) or value


def _top(code: Any) -> str:
    return (getattr(code, "__module__", None) or "").partition(".")[0]


def _globals_of(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """The globals that a function names, and what it names of modules among them."""
    names = _names(function.__code__)
    for name in names & function.__globals__.keys():
        value = function.__globals__[name]
        if not isinstance(value, types.ModuleType):
            yield name, value
        elif value.__name__.partition(".")[0] not in NOT_THE_AUTHORS:
            yield from ((f"{name}.{each}", vars(value)[each]) for each in names & vars(value).keys())


def _names(code: types.CodeType) -> set[str]:
    inner = (each for each in code.co_consts if isinstance(each, types.CodeType))
    return set(code.co_names).union(*map(_names, inner))


def _inside(value: Any, depth: int = 4) -> Iterator[Kept]:
    """Tensors, modules and arrays in a value, through containers, dataclasses, functions and plain objects."""
    if isinstance(value, Tensor | nn.Module):
        yield value
        return
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "fc":
            yield value
        return
    items: list[Any] = []
    if isinstance(value, list | tuple | set | frozenset):
        items = list(value)
    elif isinstance(value, dict):
        items = list(value.values())
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        items = [getattr(value, each.name) for each in dataclasses.fields(value)]
    elif isinstance(value, functools.partial):
        items = [value.func, *value.args, *value.keywords.values()]
    elif isinstance(value, types.MethodType):
        items = [value.__self__]
    elif isinstance(value, types.FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or () if _is_full(cell)]
        items = [*cells, *(value.__defaults__ or ())]
    elif type(value).__module__ not in ("builtins", "collections") and not isinstance(value, type | types.ModuleType):
        items = list(getattr(value, "__dict__", {}).values())
    for item in items if depth else ():
        yield from _inside(item, depth - 1)


def _is_full(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # the function is not finished yet
        return False
