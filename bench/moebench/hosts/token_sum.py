"""The host of the norm task: a vector -> tokens -> one layer -> the sum of all outputs, which learns nothing."""

from __future__ import annotations

from torch import Tensor, nn

from moebench.contract import Layer
from moebench.hosts.host import Host, Site
from moebench.hosts.settings import TokenSumSettings
from moebench.tasks import TaskInfo


class TokenSum(Host):
    """x_BF -> tokens (B, T, F / T) -> layer -> (B, 1)."""

    def __init__(self, settings: TokenSumSettings, task: TaskInfo) -> None:
        super().__init__(task.targets)
        self.tokens, self.residual = settings.tokens, settings.residual
        self.site: nn.Module = nn.Identity()

    def attach(self, layers: list[Layer]) -> None:
        """Put the one layer in its place."""
        (layer,) = layers
        self.site = Site(layer)

    def head_outputs(self, x: Tensor) -> Tensor:
        """The one output (B, 1) of x_BF."""
        return self.summands(x).sum((1, 2)).unsqueeze(1)

    def summands(self, x_BF: Tensor) -> Tensor:
        """What is summed: y_BTD of the layer, or x + y."""
        x_BTD = x_BF.reshape(len(x_BF), self.tokens, -1)
        y_BTD: Tensor = self.site(x_BTD)
        return x_BTD + y_BTD if self.residual else y_BTD
