"""The settings that a group tunes: the variant's own, narrowed by the suite and by the budget, as plain values."""

from __future__ import annotations

import dataclasses
import itertools
from functools import lru_cache
from typing import Any

from moebench.budgets import Budget, Fits, narrowed, reachable, settle
from moebench.contract import Choice, Dimension, LayerShape, Settings, Space, Variant
from moebench.contract.variant import LOSS
from moebench.errors import BudgetError, HostError, UnknownNameError
from moebench.suites import Suite


def fitting(variant: Variant, budget: Budget) -> Fits:
    """Whether settings meet the budget and the host by the rules; the answer is kept, for the weights of losses change
    nothing, nor does the task where layers have the same shapes.
    """
    known = _known(_Same(variant), budget)

    def fits(settings: Settings) -> bool:
        key = tuple((name, repr(value)) for name, value in settings.items() if not name.startswith(LOSS))
        if key not in known:
            known[key] = _settles(variant, budget, settings)
        return known[key]

    return fits


class _Same:
    """A variant as a key: equal to itself alone, whatever its author says."""

    def __init__(self, variant: Variant) -> None:
        self.variant = variant

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.variant is self.variant

    def __hash__(self) -> int:
        return id(self.variant)


@lru_cache(maxsize=256)
def _known(variant: _Same, budget: Budget) -> dict[tuple[tuple[str, Any], ...], bool]:
    """What is known of a variant at a budget."""
    return {}


def _settles(variant: Variant, budget: Budget, settings: Settings) -> bool:
    try:
        settle(variant, budget, settings)
    except (BudgetError, HostError):
        return False
    return True


def suite_space(suite: Suite, row: str, variant: Variant, shape: LayerShape) -> Space:
    """The variant's space with the suite's choices for it, then for the row.

    :class:`UnknownNameError` for a setting that the variant does not have.
    """
    own = Space(variant.space(shape))
    for owner in dict.fromkeys((variant.name, row)):
        for name, options in suite.space.get(owner, {}).items():
            if name not in own:
                raise UnknownNameError("setting", name, own, f"space.{owner} of suite '{suite.name}'")
            own[name] = narrowed(own[name], options)
    return own


def tuned_space(own: Space, variant: Variant, budget: Budget, fits: Fits | None = None) -> Space:
    """The space without options that cannot meet the budget, or the host.

    :class:`BudgetError` or :class:`HostError` if the defaults have no neighbour that meets them.
    """
    fits = fits or fitting(variant, budget)
    space = reachable(fits, own)
    if not fits(space.defaults()):
        settle(variant, budget, space.defaults())  # which says why
    return space


def unfit(space: Space, fits: Fits) -> list[dict[str, Any]]:
    """The combinations of choices that, beside the other defaults, cannot meet the budget."""
    choices = {n: d.options for n, d in space.items() if isinstance(d, Choice) and len(d.options) > 1}
    combinations = (dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values()))
    return [chosen for chosen in combinations if not fits({**space.defaults(), **chosen})]


def to_plain(dimension: Dimension) -> dict[str, Any]:
    """A dimension as JSON has it."""
    plain = dataclasses.asdict(dimension)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}
