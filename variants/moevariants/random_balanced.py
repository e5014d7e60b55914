"""A frozen router whose load is balanced: with gradients that steer it, and without."""

from __future__ import annotations

from typing import Any

from torch import nn

from moebench.contract import LayerShape
from moevariants.parts.sparse import SparseLayer
from moevariants.random_detached import DetachedRouter
from moevariants.topk_qb import TopKQB


class RandomBalanced(TopKQB):
    """:class:`TopKQB` with its router frozen as drawn: the layers below may steer it, and its bias keeps loads even.

    The router counts in the budget like any other parameter. What learned routing is worth beside balance is
    ``topk_qb`` against this row and against ``random_balanced_detached``. Settings, size and claims are those of
    topk_qb.
    """

    name = "random_balanced"
    revision = "random_balanced_1"

    def build(self, shape: LayerShape, size: int, **settings: Any) -> SparseLayer:
        """One layer of E experts of hidden width ``size``."""
        layer = super().build(shape, size, **settings)
        layer.router.requires_grad_(False)
        return layer


class RandomBalancedDetached(RandomBalanced):
    """:class:`RandomBalanced` with its logits from x without a gradient: balanced, and nothing learns to route."""

    name = "random_balanced_detached"
    revision = "random_balanced_detached_1"

    def _router(self, shape: LayerShape, experts: int) -> nn.Module:
        return DetachedRouter(shape.dim, experts)
