"""Methods that make trained layers smaller, by name."""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING, Any

from moebench.errors import PluginError, UnknownNameError
from moebench.plugins.find import Found, find_compressors
from moebench.plugins.identity import code_identity

if TYPE_CHECKING:
    from moebench.contract import Compressor


def load_compressor(name: str) -> Compressor:
    """The method of that name; :class:`UnknownNameError` or :class:`PluginError` if it cannot be had."""
    from moebench.contract import Compressor

    found = _found(name)
    try:
        made: Any = functools.reduce(getattr, found.attribute.split("."), importlib.import_module(found.module))
        compressor = made() if isinstance(made, type) else made
    except (Exception, SystemExit) as error:
        raise PluginError(f"compressor {name}: it fails to import ({type(error).__name__}: {error}).") from error
    if not isinstance(compressor, Compressor) or compressor.name != name:
        raise PluginError(f"compressor {name}: it needs a method compress() and the name '{name}'.")
    return compressor


def compressor_identity(name: str) -> str:
    """What stands for its code in the identity of what it makes, see :mod:`moebench.plugins.identity`."""
    return code_identity(_found(name))


def _found(name: str) -> Found:
    installed = find_compressors()
    if name not in installed:
        raise UnknownNameError("compressor", name, installed)
    if installed[name].problem:
        raise PluginError(f"compressor {name}: {installed[name].problem}")
    return installed[name]
