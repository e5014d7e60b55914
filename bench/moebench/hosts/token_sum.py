"""The host of the norm task: a vector -> tokens -> one layer -> the sum of all outputs, which learns nothing."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from moebench.contract import Layer
from moebench.errors import SuiteError
from moebench.hosts.host import Host, Site
from moebench.hosts.settings import Activation, HostSettings, LayerPlace
from moebench.tasks import Features, Inputs, TaskInfo


class TokenSumSettings(HostSettings):
    """A vector cut into tokens, one layer, and the fixed sum of all its outputs (arXiv 2409.00879, appendix C).

    tokens: T; the vector's entries are shared among them evenly. residual: whether the layer's input is added
    to its output before the sum.
    """

    reads: ClassVar[type[Inputs]] = Features

    name: Literal["token_sum"] = "token_sum"
    activation: Activation = "relu"
    bias: bool = False
    tokens: int = Field(ge=1)
    residual: bool = False

    def places(self, task: TaskInfo) -> list[LayerPlace]:
        """One, on equal parts of the vector."""
        inputs = task.inputs
        assert isinstance(inputs, Features)
        if task.outputs != 1 or inputs.count % self.tokens:
            raise SuiteError(
                f"the host 'token_sum' gives one number from {self.tokens} equal tokens; task '{task.name}' has "
                f"{inputs.count} features and asks for {task.outputs}.",
                code="no-equal-tokens",
                task=task.name,
            )
        return [LayerPlace(inputs.count // self.tokens, self.tokens)]

    def build(self, task: TaskInfo) -> TokenSum:
        """The network."""
        return TokenSum(self, task)


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
