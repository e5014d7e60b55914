"""What an author writes: a name, its traits, its settings, and how to build one layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from moebench.contract.layer import Layer
from moebench.contract.shape import LayerShape
from moebench.contract.space import Settings, Space
from moebench.contract.traits import Traits

if TYPE_CHECKING:
    from moebench.budgets import Budget


@runtime_checkable
class Variant(Protocol):
    """An expert layer as a plug-in. Importing its module has no side effects.

    The class (or an instance) is found through the entry-point group ``moebench.variants`` or as ``path.py:Class``.
    """

    name: str
    traits: Traits

    def space(self, shape: LayerShape, budget: Budget) -> Space:
        """The settings to tune. Only those that can meet the budget: ask ``budget.fits(self, settings)``."""
        ...

    def build(self, shape: LayerShape, size: int, settings: Settings) -> Layer:
        """Build one layer. Parameters grow with ``size`` (a hidden width, a rank), which the harness solves for.

        Draw initial weights from torch's default generator and never seed anything.
        """
        ...
