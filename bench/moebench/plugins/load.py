"""Import a variant and hold it to the rules of registration; every refusal names who, what, and what is wrong."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from typing import Any

from moebench.contract import Traits, Variant
from moebench.errors import PluginError
from moebench.plugins.find import Found
from moebench.plugins.imports import load_object

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
METHODS = (("space", ("shape", "budget")), ("build", ("shape", "size", "settings")))


def load_variant(found: Found) -> Variant:
    """The variant itself, an instance; :class:`PluginError` with one sentence if it cannot be accepted."""
    variant: Variant = load_object(found)
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
