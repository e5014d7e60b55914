"""The options of a space that can meet a budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from moebench.contract import Choice, Dimension, Settings, Space

Fits = Callable[[Settings], bool]
"""Whether settings meet a budget."""


def reachable(fits: Fits, space: Space) -> Space:
    """The space without options that, beside the defaults, cannot meet the budget; of a choice without any, all stay,
    so that whoever sizes the variant finds the budget unreachable.
    """
    kept = Space(space)
    for name, dimension in space.items():
        if isinstance(dimension, Choice) and len(dimension.options) > 1:
            options = tuple(o for o in dimension.options if fits({**kept.defaults(), name: o}))
            kept[name] = narrowed(dimension, options or dimension.options)
    return kept


def narrowed(dimension: Dimension, options: Sequence[Any]) -> Choice:
    """These options; the default stays where it is among them."""
    choice = Choice(tuple(options))
    return Choice(choice.options, dimension.default) if choice.holds(dimension.default) else choice
