"""Tokens that do not hear of each other: a linear map in, expert layers with residual, a linear head for each token."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from moebench.contract import Layer
from moebench.hosts.host import Host, Site
from moebench.hosts.settings import HostSettings, LayerPlace
from moebench.tasks import Inputs, TaskInfo, Vectors


class TokenwiseSettings(HostSettings):
    """Vectors -> linear -> expert layers with residual -> a linear head for each token: no token hears of another."""

    reads: ClassVar[type[Inputs]] = Vectors

    name: Literal["tokenwise"] = "tokenwise"
    dim: int = Field(32, ge=2)
    depth: int = Field(1, ge=1)

    def places(self, task: TaskInfo) -> list[LayerPlace]:
        """One in each block."""
        assert isinstance(task.inputs, Vectors)
        return [LayerPlace(self.dim, task.inputs.tokens)] * self.depth

    def build(self, task: TaskInfo) -> Tokenwise:
        """The network."""
        return Tokenwise(self, task)


class Tokenwise(Host):
    """x_BTF -> linear -> ``depth`` times x + layer(norm(x)) -> norm -> (B, T, O)."""

    def __init__(self, settings: TokenwiseSettings, task: TaskInfo) -> None:
        super().__init__(task.targets)
        vectors = task.inputs
        assert isinstance(vectors, Vectors)  # the shapes of its layers were worked out first
        self.embed = nn.Linear(vectors.dim, settings.dim)
        self.norms = nn.ModuleList(nn.LayerNorm(settings.dim) for _ in range(settings.depth))
        self.sites = nn.ModuleList(nn.Identity() for _ in range(settings.depth))  # vacant until the layers come
        self.norm = nn.LayerNorm(settings.dim)
        self.head = nn.Linear(settings.dim, task.outputs)

    def attach(self, layers: list[Layer]) -> None:
        """Put the layers in their places, first block first."""
        assert len(layers) == len(self.sites)
        self.sites = nn.ModuleList(map(Site, layers))

    def head_outputs(self, x: Tensor) -> Tensor:
        """(B, T, O) of vectors x_BTF."""
        x_BTD: Tensor = self.embed(x)
        for norm, site in zip(self.norms, self.sites, strict=True):
            x_BTD = x_BTD + site(norm(x_BTD))
        outputs: Tensor = self.head(self.norm(x_BTD))
        return outputs
