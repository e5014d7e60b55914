"""Import a variant and hold it to the rules of registration; every refusal names who, what, and what is wrong."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import sys
from functools import cache
from types import ModuleType
from typing import Any

from moebench.contract import Traits, Variant
from moebench.errors import PluginError
from moebench.plugins.find import Found
from moebench.runs.canonical import digest

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


def load_variant(found: Found) -> Variant:
    """The variant itself, an instance; :class:`PluginError` with one sentence if it cannot be accepted."""
    if found.problem:
        raise PluginError(f"{found.spec}: {found.problem}")
    module = _import_file(found) if found.spec != found.name else _import_module(found)
    try:
        thing = getattr(module, found.attribute)
    except AttributeError:
        raise PluginError(f"{found.spec}: '{module.__file__}' has no '{found.attribute}'.") from None
    variant = _instance(found.spec, thing)
    verify(found.spec, variant)
    if found.spec == found.name and variant.name != found.name:
        raise PluginError(f"{found.spec}: it calls itself '{variant.name}', its entry point '{found.name}'.")
    return variant


def verify(spec: str, variant: Any) -> None:
    """The rules of registration, the likeliest mistake first."""
    for method, words in (("space", ["shape", "budget"]), ("build", ["shape", "size", "settings"])):
        function = getattr(variant, method, None)
        if not callable(function):
            raise PluginError(f"{spec}: it has no method {method}({', '.join(words)}).")
        takes = list(inspect.signature(function).parameters)
        if len(takes) < len(words):
            raise PluginError(f"{spec}: {method}() takes ({', '.join(takes)}), not ({', '.join(words)}).")
    name = getattr(variant, "name", None)
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise PluginError(
            f"{spec}: its name {name!r} must be lower-case letters, digits and underscores, at most 40."
        )
    if not isinstance(getattr(variant, "traits", None), Traits):
        raise PluginError(f"{spec}: its traits must be a moebench.contract.Traits.")


def _instance(spec: str, thing: Any) -> Any:
    if not isinstance(thing, type):
        return thing
    try:
        return thing()
    except Exception as error:
        raise PluginError(f"{spec}: {thing.__name__}() raised {type(error).__name__}: {error}") from error


def _import_module(found: Found) -> ModuleType:
    try:
        return importlib.import_module(found.module)
    except Exception as error:
        raise _import_error(found, error) from error


@cache
def _import_file(found: Found) -> ModuleType:
    """Import a file under a name of its own, so that two files called mine.py do not meet."""
    assert found.source is not None
    # The same name in every process, so that workers can unpickle what the file defines.
    name = f"moebench_file_{found.source.stem}_{digest(str(found.source), 12)}"
    spec = importlib.util.spec_from_file_location(name, found.source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise _import_error(found, error) from error
    return module


def _import_error(found: Found, error: Exception) -> PluginError:
    message = str(error).splitlines()[0] if str(error) else "no message"
    return PluginError(f"{found.spec}: it fails to import ({type(error).__name__}: {message}).")
