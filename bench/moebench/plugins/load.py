"""Import a variant and hold it to the rules of registration; every refusal names who, what, and what is wrong."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from moebench.contract import Traits, Variant
from moebench.errors import PluginError
from moebench.plugins.find import Found
from moebench.runs.canonical import digest

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
METHODS = (("space", ("shape", "budget")), ("build", ("shape", "size", "settings")))

ANY = (Exception, SystemExit)
"""What a stranger's module may raise; one that ends the program must not end this one."""


def load_variant(found: Found) -> Variant:
    """The variant itself, an instance; :class:`PluginError` with one sentence if it cannot be accepted."""
    if found.problem:
        raise PluginError(f"{found.spec}: {found.problem}")
    module = _import_file(found) if found.in_file else _import_module(found)
    try:
        thing = functools.reduce(getattr, found.attribute.split("."), module)
    except AttributeError:
        raise PluginError(f"{found.spec}: '{module.__file__}' has no '{found.attribute}'.") from None
    variant: Variant = _instance(found.spec, thing)
    verify(found.spec, variant)
    if not found.in_file and variant.name != found.name:
        raise PluginError(f"{found.spec}: it calls itself '{variant.name}', its entry point '{found.name}'.")
    return variant


def verify(spec: str, variant: Any) -> None:
    """The rules of registration, the likeliest mistake first."""
    for method, words in METHODS:
        _verify_method(spec, variant, method, words)
    name = getattr(variant, "name", None)
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise PluginError(f"{spec}: its name {name!r} must be lower-case letters, digits and underscores, at most 40.")
    if not isinstance(getattr(variant, "traits", None), Traits):
        raise PluginError(f"{spec}: its traits must be a moebench.contract.Traits.")


def _verify_method(spec: str, variant: Any, method: str, words: Sequence[str]) -> None:
    """It is there, and can be called as the harness calls it."""
    function = getattr(variant, method, None)
    if not callable(function):
        raise PluginError(f"{spec}: it has no method {method}({', '.join(words)}).")
    try:
        signature = inspect.signature(function)
    except ValueError:  # not written in Python
        return
    try:
        signature.bind(*words)
    except TypeError:
        takes = ", ".join(signature.parameters)
        raise PluginError(f"{spec}: {method}() takes ({takes}), not ({', '.join(words)}).") from None


def _instance(spec: str, thing: Any) -> Any:
    if not isinstance(thing, type):
        return thing
    try:
        return thing()
    except ANY as error:
        raise PluginError(f"{spec}: {thing.__name__}() raised {_told(error)}.") from error


def _import_module(found: Found) -> ModuleType:
    try:
        return importlib.import_module(found.module)
    except ANY as error:
        raise PluginError(f"{found.spec}: it fails to import ({_told(error)}).") from error


def _import_file(found: Found) -> ModuleType:
    """The module of a file, imported anew when the file has changed."""
    assert found.source is not None
    try:
        return _executed(found.source, found.source.read_bytes())
    except ANY as error:
        raise PluginError(f"{found.spec}: it fails to import ({_told(error)}).") from error


@functools.cache
def _executed(source: Path, code: bytes) -> ModuleType:
    """Import a file under a name of its own, so that two files called mine.py do not meet."""
    # The same name in every process, so that workers can unpickle what the file defines.
    name = f"moebench_file_{source.stem}_{digest(str(source), 12)}"
    spec = importlib.util.spec_from_file_location(name, source)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        # Not through the loader: its byte code may be that of an edit within the same second.
        exec(compile(code, source, "exec"), module.__dict__)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def _told(error: BaseException) -> str:
    """An exception on one line, without a full stop."""
    message = str(error).strip().splitlines()
    return f"{type(error).__name__}: {message[0].rstrip('.') if message else 'no message'}"
