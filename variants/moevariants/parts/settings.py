"""Reading settings that people wrote: each mistake is a ValueError of one sentence that names the setting."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import TYPE_CHECKING

from moebench.contract import Choice, Settings
from moebench.contract.space import Value

if TYPE_CHECKING:
    from moebench.budgets import Budget
    from moebench.contract import Variant


class Given:
    """The settings given to a variant, read one by one; a missing one takes the default of its reading."""

    def __init__(self, variant: str, known: Collection[str], settings: Settings) -> None:
        self.variant, self.settings = variant, settings
        for name in settings:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
                hint = f"did you mean '{near[0]}'?" if near else f"it has: {', '.join(sorted(known)) or 'none'}"
                raise ValueError(f"{variant} has no setting '{name}'; {hint}")

    def whole(self, name: str, default: int, most: int | None = None, why: str = "") -> int:
        """A whole number from 1 to ``most``; ``why`` says where that bound comes from."""
        value = self.settings.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self.wrong(name, "a whole number of at least 1")
        if most is not None and value > most:
            raise self.wrong(name, f"at most {most}{why}")
        return value

    def number(self, name: str, default: float) -> float:
        """A finite number of at least 0."""
        value = self.settings.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
            raise self.wrong(name, "a number of at least 0")
        return float(value)

    def switch(self, name: str, default: bool) -> bool:
        """True or False."""
        value = self.settings.get(name, default)
        if not isinstance(value, bool):
            raise self.wrong(name, "true or false")
        return value

    def wrong(self, name: str, right: str) -> ValueError:
        """The error for a value that cannot be: who, which setting, what would be right, what was given."""
        return ValueError(f"{self.variant}: {name} must be {right}, not {self.settings.get(name)!r}")


def fitting(variant: Variant, budget: Budget, name: str, options: tuple[Value, ...], **given: Value) -> Choice:
    """The options with which, and with what is ``given`` beside, the variant can meet the budget; the first of them is
    the default.

    Where none can, the first option is left, so that whoever sizes the variant finds the budget unreachable.
    """
    return Choice(tuple(o for o in options if budget.fits(variant, {**given, name: o})) or options[:1])
