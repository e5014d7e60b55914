"""The digest of a variant that is an object in memory, the same in every process that makes the same object.

What lies in a module with a source is told by the module's code digest; what was defined at a prompt or in a
notebook by its byte code. Standard library, harness and the big frameworks are told by name: their versions are
provenance, as for any variant.
"""

from __future__ import annotations

import dis
import hashlib
import sys
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from moebench.errors import PluginError
from moebench.plugins.beside import FRAMEWORKS
from moebench.plugins.identity import module_digest
from moebench.records.canonical import canonical_json, digest

GLOBALS = frozenset({"LOAD_GLOBAL", "LOAD_NAME"})
UNTOLD = frozenset(
    {"__dict__", "__weakref__", "__doc__", "__module__", "__annotations__", "__firstlineno__"}
    | {"__static_attributes__", "__annotate__", "__annotate_func__", "__annotations_cache__", "_abc_impl"}
    | {"__dataclass_fields__", "__abstractmethods__"}
)
"""Attributes of a class that say nothing about what it does, or that follow from the others."""


def object_digest(variant: object) -> str:
    """Twenty hexadecimal digits of what a variant is: its class, its values, and the code that they use."""
    return digest(_Teller().tell(variant))


class _Teller:
    """Tells an object as plain values. What was told before is told by its number, so that circles end."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}
        self._kept: list[object] = []  # alive, so that no id is given twice
        self._modules: dict[str, str] = {}

    def tell(self, value: Any) -> Any:
        if value is None or isinstance(value, bool | int | float | complex | str | bytes):
            return [type(value).__name__, repr(value)]
        if isinstance(value, list | tuple):
            return [type(value).__name__, *map(self.tell, value)]
        if isinstance(value, set | frozenset):
            return [type(value).__name__, *sorted(map(self.tell, value), key=canonical_json)]
        if id(value) in self._numbers:
            return ["again", self._numbers[id(value)]]
        self._numbers[id(value)] = len(self._numbers)
        self._kept.append(value)
        if isinstance(value, Mapping) and type(value).__reduce_ex__ is object.__reduce_ex__:
            return ["dict", *([self.tell(key), self.tell(each)] for key, each in value.items())]
        return self._tell_thing(value)

    def _tell_thing(self, value: Any) -> Any:
        if isinstance(value, ModuleType):
            return ["module", value.__name__, self._module(value.__name__)]
        if isinstance(value, type):
            return self._tell_class(value)
        if isinstance(value, FunctionType):
            return self._tell_function(value)
        if isinstance(value, MethodType):
            return ["method", self.tell(value.__func__), self.tell(value.__self__)]
        if isinstance(value, BuiltinFunctionType):
            return ["builtin", value.__module__, value.__qualname__]
        if isinstance(value, CodeType):
            return self._tell_code(value)
        if isinstance(value, staticmethod | classmethod):
            return [type(value).__name__, self.tell(value.__func__)]
        if isinstance(value, property):
            return ["property", self.tell(value.fget), self.tell(value.fset)]
        if isinstance(value, cached_property):
            return ["cached_property", self.tell(value.func)]
        return self._tell_instance(value)

    def _tell_instance(self, value: Any) -> Any:
        if type(value).__name__ in ("Tensor", "Parameter", "ndarray"):
            values = value.detach().cpu().numpy() if hasattr(value, "detach") else value
            content = hashlib.sha256(values.tobytes()).hexdigest()
            return ["array", str(value.dtype), list(value.shape), content]
        try:
            reduced = value.__reduce_ex__(4)
        except Exception:  # a lock, an open file: no part of what a layer does
            return ["opaque", type(value).__module__, type(value).__qualname__]
        if isinstance(reduced, str):
            return ["named", self.tell(type(value)), reduced]
        parts = [list(part) if isinstance(part, Iterator) else part for part in reduced]
        return ["object", *map(self.tell, parts)]

    def _tell_class(self, value: type) -> Any:
        known = self._module(value.__module__)
        if known is not None:
            return ["class", value.__module__, value.__qualname__, known]
        attributes = [[name, self.tell(each)] for name, each in vars(value).items() if name not in UNTOLD]
        return ["class", value.__qualname__, self.tell(value.__bases__), *sorted(attributes, key=lambda a: a[0])]

    def _tell_function(self, value: FunctionType) -> Any:
        known = self._module(value.__module__)
        cells = [cell.cell_contents for cell in value.__closure__ or () if _filled(cell)]
        given = [self.tell(each) for each in (value.__defaults__, value.__kwdefaults__, cells)]
        if known is not None:
            return ["function", value.__module__, value.__qualname__, known, *given]
        used = {name: value.__globals__[name] for name in _global_names(value.__code__) if name in value.__globals__}
        code = self._tell_code(value.__code__, value.__doc__)
        return ["function", code, *given, *([name, self.tell(each)] for name, each in sorted(used.items()))]

    def _tell_code(self, code: CodeType, doc: str | None = None) -> Any:
        constants = [None if doc is not None and each == doc else each for each in code.co_consts]
        return [
            "code",
            code.co_code.hex(),
            [*code.co_names, "|", *code.co_varnames, "|", *code.co_freevars, "|", *code.co_cellvars],
            [code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags],
            [self._tell_code(each) if isinstance(each, CodeType) else self.tell(each) for each in constants],
        ]

    def _module(self, name: str | None) -> str | None:
        """What stands for a module's code: empty if told by name alone, None if it has none to be read."""
        name = name or ""
        if name not in self._modules:
            top = name.partition(".")[0]
            if top in FRAMEWORKS or top in sys.stdlib_module_names:
                return self._modules.setdefault(name, "")
            source = getattr(sys.modules.get(name), "__file__", None)
            if name == "__main__" or source is None or not source.endswith(".py"):
                return None
            self._modules[name] = _digest_or_nothing(name, Path(source))
        return self._modules[name]


def _digest_or_nothing(name: str, source: Path) -> str:
    try:
        return module_digest(name, source)
    except PluginError:
        return ""


def _filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - reading it is the test
    except ValueError:
        return False
    return True


def _global_names(code: CodeType) -> set[str]:
    """Names that a function, or one inside it, looks up in its module."""
    names = {str(step.argval) for step in dis.get_instructions(code) if step.opname in GLOBALS}
    inner = (each for each in code.co_consts if isinstance(each, CodeType))
    return names.union(*map(_global_names, inner))
