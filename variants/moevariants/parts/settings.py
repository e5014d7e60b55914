"""Checks of settings that people wrote: each mistake is a ValueError of one sentence that names the setting."""

from __future__ import annotations

from typing import Any, Protocol


class Named(Protocol):
    """A variant, or a compressor."""

    name: str


def whole(owner: Named, name: str, value: Any, most: int | None = None, why: str = "") -> int:
    """A whole number from 1 to ``most``; ``why``: where that bound comes from."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise wrong(owner, name, value, "a whole number of at least 1")
    if most is not None and value > most:
        raise wrong(owner, name, value, f"at most {most}{why}")
    return value


def number(owner: Named, name: str, value: Any) -> float:
    """A finite number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise wrong(owner, name, value, "a number of at least 0")
    return float(value)


def switch(owner: Named, name: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise wrong(owner, name, value, "true or false")
    return value


def renormalises(owner: Named, value: bool | None, top_k: int) -> bool:
    """The setting ``renormalise``: by default true unless K = 1."""
    if value and top_k == 1:
        raise wrong(owner, "renormalise", True, "false where top_k is 1, or the router gets no gradient")
    return switch(owner, "renormalise", top_k > 1 if value is None else value)


def wrong(owner: Named, name: str, value: Any, right: str) -> ValueError:
    """The error for a value that cannot be: who, which setting, what would be right, what was given."""
    return ValueError(f"{owner.name}: {name} must be {right}, not {value!r}")
