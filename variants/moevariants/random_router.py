"""The reference row for routing: sparse top-k whose router never learns."""

from __future__ import annotations

from typing import Any

from moebench.contract import LayerShape
from moevariants.parts.gates import LOSSES
from moevariants.parts.sparse import SparseLayer
from moevariants.sparse_topk import SparseTopK


class RandomRouter(SparseTopK):
    """:class:`SparseTopK` with its router frozen as drawn, and no auxiliary loss, having nothing to balance.

    The router counts in the budget like any other parameter. A layer that does not beat this one gains
    nothing from its routing. Settings, size and claims are those of sparse_topk.
    """

    name = "random_router"
    revision = "51a4b26018ad12966906"
    tune = {**SparseTopK.tune, **{f"loss/{name}": (0.0,) for name in LOSSES}}

    def build(self, shape: LayerShape, size: int, *, losses: tuple[str, ...] = (), **settings: Any) -> SparseLayer:
        """One layer of E experts of hidden width ``size``."""
        layer = super().build(shape, size, losses=losses, **settings)
        layer.router.requires_grad_(False)
        return layer
