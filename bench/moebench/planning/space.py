"""The settings that a group tunes: the variant's own, narrowed by the suite and by the budget, as plain values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from moebench.budgets import Budget, solve
from moebench.contract import Choice, Dimension, Settings, Space, Uniform, Variant
from moebench.errors import SuiteError, UnknownNameError
from moebench.suites import Suite


def tuned_space(suite: Suite, variant: Variant, budget: Budget) -> Space:
    """The variant's space with the suite's choices; options that cannot meet the budget are left out.

    :class:`BudgetError` if the defaults have no neighbour that meets it, :class:`UnknownNameError` for a setting
    that the variant does not have.
    """
    own = variant.space(budget.shapes[0], budget)
    for name, options in suite.space.get(variant.name, {}).items():
        if name not in own:
            raise UnknownNameError("setting", name, own, f"space.{variant.name} of suite '{suite.name}'")
        own = Space({**own, name: _narrowed(own[name], options)})
    return _reachable(variant, budget, own)


def _narrowed(dimension: Dimension, options: Sequence[Any]) -> Choice:
    kept = tuple(options)
    if not kept:
        raise SuiteError("a setting in [space] needs at least one value.")
    default = dimension.default if dimension.default in kept else kept[0]
    return Choice(kept, default)


def _reachable(variant: Variant, budget: Budget, space: Space) -> Space:
    """Leave out options that, beside the defaults, cannot meet the budget."""
    narrowed = Space(space)
    for name, dimension in space.items():
        if isinstance(dimension, Choice) and len(dimension.options) > 1:
            fitting = tuple(
                option for option in dimension.options if budget.fits(variant, {**narrowed.defaults(), name: option})
            )
            if fitting:
                default = dimension.default if dimension.default in fitting else fitting[0]
                narrowed[name] = Choice(fitting, default)
    solve(variant, budget, narrowed.defaults())
    return narrowed




def to_plain(dimension: Dimension) -> dict[str, Any]:
    """A dimension as JSON."""
    return dataclasses.asdict(dimension)


def from_plain(value: Mapping[str, Any]) -> Dimension:
    """The inverse of :func:`to_plain`."""
    if "options" in value:
        return Choice(tuple(value["options"]), value["default"])
    return Uniform(value["low"], value["high"], value["default"], value["log"])
