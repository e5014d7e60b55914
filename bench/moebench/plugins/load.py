"""Import a variant and hold it to the rules of registration; every refusal names who, what, and what is wrong."""

from __future__ import annotations

import re
from typing import Any

from moebench.contract import Uniform, Variant
from moebench.contract.variant import LOSS, build_settings
from moebench.errors import PluginError
from moebench.plugins.find import Found
from moebench.plugins.imports import load_object

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


def load_variant(found: Found) -> Variant:
    """The variant itself, an instance; :class:`PluginError` with one sentence if it cannot be accepted."""
    import torch  # noqa: F401 - before the variant does, so that its settings of torch are seen and put back

    variant: Variant = load_object(found)
    verify(found.spec, variant)
    if not found.in_file and variant.name != found.name:
        raise PluginError(
            f"{found.spec}: it calls itself '{variant.name}', its entry point '{found.name}'.",
            code="name-not-entry-point",
        )
    return variant


def verify(spec: str, variant: Any) -> None:
    """The rules of registration, the likeliest mistake first."""
    if not isinstance(variant, Variant):
        raise PluginError(f"{spec}: it must be a moebench.contract.Variant, not {_what(variant)}.", code="no-variant")
    if not NAME.fullmatch(name := str(variant.name)):
        raise PluginError(
            f"{spec}: its name '{name}' must be lower-case letters, digits and underscores, at most 40.",
            code="variant-name-form",
        )
    if type(variant).build is Variant.build:
        raise PluginError(f"{spec}: it has no method build(shape, size, *, ...).", code="no-build")
    try:
        settings = build_settings(type(variant))
    except TypeError as error:
        raise PluginError(f"{spec}: {error}.", code="build-signature") from None
    for name, options in variant.tune.items():
        if name not in settings and not name.startswith(LOSS):
            raise PluginError(
                f"{spec}: it tunes '{name}', which is no keyword-only argument of its build().",
                code="tunes-unknown-setting",
            )
        if not isinstance(options, Uniform) and not (isinstance(options, tuple) and options):
            raise PluginError(
                f"{spec}: it tunes '{name}' with {options!r}, not a tuple of options or a Uniform.",
                code="tunes-no-options",
            )


def _what(thing: Any) -> str:
    return f"the class {thing.__name__}" if isinstance(thing, type) else f"a {type(thing).__name__}"
