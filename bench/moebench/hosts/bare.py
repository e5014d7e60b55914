"""A layer and nothing else, for what it costs."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn

from moebench.contract import Layer
from moebench.errors import SuiteError
from moebench.hosts.host import Host, Site
from moebench.hosts.settings import HostSettings, LayerPlace
from moebench.tasks import Inputs, TaskInfo, Vectors


class BareSettings(HostSettings):
    """One layer and nothing else, on vectors as its tokens: to measure what a layer costs."""

    reads: ClassVar[type[Inputs]] = Vectors

    name: Literal["bare"] = "bare"

    def places(self, task: TaskInfo) -> list[LayerPlace]:
        """One, on the vectors."""
        inputs = task.inputs
        assert isinstance(inputs, Vectors)
        if task.targets:
            raise SuiteError(
                f"the host 'bare' has no head; task '{task.name}' asks for {task.outputs} outputs.",
                code="no-head",
                task=task.name,
            )
        return [LayerPlace(inputs.dim, inputs.tokens)]

    def build(self, task: TaskInfo) -> Bare:
        """The network."""
        return Bare()


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
