"""A layer and nothing else, for what it costs."""

from __future__ import annotations

from torch import Tensor, nn

from moebench.contract import Layer
from moebench.hosts.host import Host, Site


class Bare(Host):
    """x_BTD -> layer -> (B, O), a mean over tokens: no target's, but what there is."""

    def __init__(self) -> None:
        super().__init__({})
        self.site: nn.Module = nn.Identity()

    def attach(self, layers: list[Layer]) -> None:
        """Put the one layer in its place."""
        (layer,) = layers
        self.site = Site(layer)

    def head_outputs(self, x: Tensor) -> Tensor:
        """The mean output (B, O) of x_BTD."""
        y_BTO: Tensor = self.site(x)
        return y_BTO.mean(1)

    def outputs(self, x: Tensor) -> dict[str, Tensor]:
        """The mean output, which answers no target."""
        return {"mean": self.head_outputs(x)}
