"""What must be equal for two runs to be compared; settings, seeds and code are what is compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FRAME = (
    "protocol",
    "data_digest",
    "split",
    "host",
    "axis",
    "budget",
    "steps",
    "batch",
    "micro_batch",
    "precision",
    "threads",
)
WORDS: Mapping[str, str] = {"data_digest": "data", "micro_batch": "micro-batch"}


def difference(own: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """``steps 300 and not 400, host depth 3 and not 2``; empty where nothing of the frame differs."""
    parts = []
    for name in FRAME:
        here, there = own.get(name), other.get(name)
        if here != there:
            here, there, inner = _inner(here, there)
            parts.append(f"{WORDS.get(name, name)}{inner} {_word(here)} and not {_word(there)}")
    return ", ".join(parts)


def _inner(own: Any, other: Any) -> tuple[Any, Any, str]:
    """The first setting that differs, of two tables of settings."""
    if not isinstance(own, Mapping) or not isinstance(other, Mapping):
        return own, other, ""
    name = next(name for name in sorted({*own, *other}) if own.get(name) != other.get(name))
    return own.get(name), other.get(name), f" {name}"


def _word(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "none" if value is None else str(value)
