"""The reference row for routing: sparse top-k whose router never learns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moebench.contract import Choice, LayerShape, Settings, Space
from moevariants.parts.gates import LOSSES
from moevariants.parts.sparse import SparseLayer
from moevariants.sparse_topk import SparseTopK

if TYPE_CHECKING:
    from moebench.budgets import Budget


class RandomRouter(SparseTopK):
    """:class:`SparseTopK` with its router frozen as drawn, and no auxiliary loss, having nothing to balance.

    The router counts in the budget like any other parameter. A layer that does not beat this one gains
    nothing from its routing. Settings, size and traits are those of sparse_topk.
    """

    name = "random_router"
    revision = "51a4b26018ad12966906"
    default_balance = 0.0

    def space(self, shape: LayerShape, budget: Budget) -> Space:
        """As sparse_topk's, with every loss weight fixed at 0."""
        return Space({**super().space(shape, budget), **{f"loss/{name}": Choice((0.0,)) for name in LOSSES}})

    def build(self, shape: LayerShape, size: int, settings: Settings) -> SparseLayer:
        """One layer of E experts of hidden width ``size``."""
        layer = super().build(shape, size, settings)
        layer.router.requires_grad_(False)
        return layer
