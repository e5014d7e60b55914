"""Sparse top-k whose router is frozen: the layers below may still steer it."""

from __future__ import annotations

from typing import Any

from moebench.contract import LayerShape
from moevariants.parts.gates import LOSSES
from moevariants.parts.sparse import SparseLayer
from moevariants.sparse_topk import SparseTopK


class RandomRouter(SparseTopK):
    """:class:`SparseTopK` with its router frozen as drawn, and no auxiliary loss, having nothing to balance.

    The router counts in the budget like any other parameter. It is no null of learned routing: a gradient flows through
    its weights into the stream, and the layers below learn to steer it. ``random_detached`` is the null. Settings, size
    and claims are those of sparse_topk.
    """

    name = "random_router"
    revision = "51a4b26018ad12966906"
    tune = {**SparseTopK.tune, **{f"loss/{name}": (0.0,) for name in LOSSES}}

    def build(self, shape: LayerShape, size: int, *, losses: tuple[str, ...] = (), **settings: Any) -> SparseLayer:
        """One layer of E experts of hidden width ``size``."""
        layer = super().build(shape, size, losses=losses, **settings)
        layer.router.requires_grad_(False)
        return layer
