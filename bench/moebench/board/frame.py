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
    return ", ".join(f"{name} {here} and not {there}" for name, here, there in differences(own, other))


def differences(own: Mapping[str, Any], other: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(what, in the one, in the other), in words, of all that differs in the frame."""
    parts = []
    for name in FRAME:
        here, there = own.get(name), other.get(name)
        if here != there:
            here, there, inner = _inner(here, there)
            parts.append((f"{WORDS.get(name, name)}{inner}", in_words(here), in_words(there)))
    return parts


def _inner(own: Any, other: Any) -> tuple[Any, Any, str]:
    """The first setting that differs, of two tables of settings."""
    if not isinstance(own, Mapping) or not isinstance(other, Mapping):
        return own, other, ""
    name = next(name for name in sorted({*own, *other}) if own.get(name) != other.get(name))
    return own.get(name), other.get(name), f" {name}"


def in_words(value: Any) -> str:
    """A value of the frame as a person reads it."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "none" if value is None else str(value)
