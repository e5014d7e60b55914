"""The null of learned routing: sparse top-k whose router is frozen and that nothing can steer."""

from __future__ import annotations

from torch import Tensor, nn

from moebench.contract import LayerShape
from moevariants.parts.routers import LinearRouter
from moevariants.random_router import RandomRouter


class RandomDetached(RandomRouter):
    """:class:`RandomRouter` with its logits from x without a gradient.

    The weights of a frozen router still carry a gradient into the stream, and the layers below learn by it to send a
    token where they want. Here none flows, so that nothing learns to route. What learned routing is worth is measured
    against this row; what steering alone gives is ``random_router`` against it.
    """

    name = "random_detached"
    revision = "random_detached_1"

    def _router(self, shape: LayerShape, experts: int) -> nn.Module:
        return DetachedRouter(shape.dim, experts)


class DetachedRouter(LinearRouter):
    """As :class:`LinearRouter`, of the values of x alone."""

    def forward(self, x_BTD: Tensor) -> Tensor:
        """The logits, one for each token and expert, without a gradient to x."""
        return super().forward(x_BTD.detach())
