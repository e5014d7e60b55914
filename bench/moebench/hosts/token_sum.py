"""The host of the norm task: a vector -> tokens -> one layer -> the sum of all outputs, which learns nothing."""

from __future__ import annotations

from torch import Tensor, nn

from moebench.contract import Layer
from moebench.hosts.host import Host, Site
from moebench.hosts.settings import TokenSumSettings
from moebench.tasks import TaskInfo


class TokenSum(Host):
    """(B, 1, 1, X) -> tokens (B, T, X / T) -> layer -> (B, 1)."""

    def __init__(self, settings: TokenSumSettings, task: TaskInfo) -> None:
        super().__init__()
        self.tokens, self.residual = settings.tokens, settings.residual
        self.site: nn.Module = nn.Identity()

    def attach(self, layers: list[Layer]) -> None:
        """Put the one layer in its place."""
        (layer,) = layers
        self.site = Site(layer)

    def logits(self, x_NCHW: Tensor) -> Tensor:
        """The one output (B, 1)."""
        return self.outputs(x_NCHW).sum((1, 2)).unsqueeze(1)

    def outputs(self, x_NCHW: Tensor) -> Tensor:
        """What is summed: y_BTD of the layer, or x + y."""
        x_BTD = x_NCHW.reshape(len(x_NCHW), self.tokens, -1)
        y_BTD: Tensor = self.site(x_BTD)
        return x_BTD + y_BTD if self.residual else y_BTD
