"""What identifies methods that make trained layers smaller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moebench.plugins.find import COMPRESSORS
from moebench.plugins.identity import code_identity


def compressor_identity(name: str) -> str:
    """What stands for its code in the identity of what it makes, see :mod:`moebench.plugins.identity`."""
    return code_identity(COMPRESSORS.find(name))


def rests_on(takes: Mapping[str, Any]) -> dict[str, str]:
    """The code beside the harness and the variant that a measure's numbers depend on: method -> revision or digest."""
    methods = [takes["method"]] if "method" in takes else takes.get("methods", [])
    return {name: compressor_identity(name) for name in methods}
