"""Methods that make trained layers smaller, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from moebench.errors import PluginError
from moebench.plugins.find import COMPRESSORS
from moebench.plugins.identity import code_identity
from moebench.plugins.imports import load_object

if TYPE_CHECKING:
    from moebench.contract import Compressor


def load_compressor(name: str) -> Compressor:
    """The method of that name; :class:`UnknownNameError` or :class:`PluginError` if it cannot be had."""
    from moebench.contract import Compressor

    found = COMPRESSORS.find(name)
    compressor = load_object(found, "compressor")
    if not isinstance(compressor, Compressor) or (not found.in_file and compressor.name != name):
        raise PluginError(f"compressor {name}: it needs a method compress() and the name '{name}'.")
    return compressor


def compressor_identity(name: str) -> str:
    """What stands for its code in the identity of what it makes, see :mod:`moebench.plugins.identity`."""
    return code_identity(COMPRESSORS.find(name))


def rests_on(takes: Mapping[str, Any]) -> dict[str, str]:
    """The code beside the harness and the variant that a measure's numbers depend on: method -> revision or digest."""
    methods = [takes["method"]] if "method" in takes else takes.get("methods", [])
    return {name: compressor_identity(name) for name in methods}
