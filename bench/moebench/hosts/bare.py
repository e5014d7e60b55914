"""A layer and nothing else, for what it costs."""

from __future__ import annotations

from torch import Tensor, nn

from moebench.contract import Layer
from moebench.hosts.host import Host, Site


class Bare(Host):
    """(B, 1, T, D) -> layer -> (B, D), a mean over tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.site: nn.Module = nn.Identity()

    def attach(self, layers: list[Layer]) -> None:
        """Put the one layer in its place."""
        (layer,) = layers
        self.site = Site(layer)

    def logits(self, x_NCHW: Tensor) -> Tensor:
        """The mean output (B, D)."""
        y_BTD: Tensor = self.site(x_NCHW.squeeze(1))
        return y_BTD.mean(1)
