"""Rows of a table: embedded categories and numbers -> linear -> expert layers -> a tower for each target.

B inputs   F columns   D width   V targets, the views of the last layer
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from moebench.contract import Layer
from moebench.contract.shape import ACTIVATIONS
from moebench.hosts.host import Host, Site
from moebench.hosts.settings import Activation, HostSettings, LayerPlace
from moebench.tasks import Inputs, Table, TaskInfo


class TabularSettings(HostSettings):
    """A table's row as one token, expert layers, and a tower of two layers for each target (as in MMoE, KDD 2018).

    dim: D. depth: expert layers, one after the other; the last has the targets as its views, so that a layer that knows
    views gives each tower an output of its own, and any other one output to all. embedding: width of a category's
    vectors. tower: hidden width of a tower. residual: whether a layer's input is added to its output.
    """

    reads: ClassVar[type[Inputs]] = Table

    name: Literal["tabular"] = "tabular"
    activation: Activation = "relu"
    dim: int = Field(64, ge=2)
    depth: int = Field(1, ge=1)
    embedding: int = Field(8, ge=1)
    tower: int = Field(16, ge=1)
    residual: bool = False

    def places(self, task: TaskInfo) -> list[LayerPlace]:
        """One for each layer, of one token; the last with views."""
        return [LayerPlace(self.dim, 1)] * (self.depth - 1) + [LayerPlace(self.dim, 1, views=tuple(task.targets))]

    def build(self, task: TaskInfo) -> Tabular:
        """The network."""
        return Tabular(self, task)


class Tabular(Host):
    """x_BF -> linear of embeddings and numbers -> layers -> tower v of the output for view v -> (B, O)."""

    def __init__(self, settings: TabularSettings, task: TaskInfo) -> None:
        super().__init__(task.targets)
        table = task.inputs
        assert isinstance(table, Table)  # the shapes of its layers were worked out first
        self.residual = settings.residual
        self.embeddings = nn.ModuleList(nn.Embedding(codes, settings.embedding) for codes in table.categories)
        self.embed = nn.Linear(len(table.categories) * settings.embedding + table.numbers, settings.dim)
        self.sites = nn.ModuleList(nn.Identity() for _ in range(settings.depth))  # vacant until the layers come
        self.towers = nn.ModuleList(Tower(settings, outputs) for outputs in task.targets.values())

    def attach(self, layers: list[Layer]) -> None:
        """Put the layers in their places."""
        assert len(layers) == len(self.sites)
        self.sites = nn.ModuleList(map(Site, layers))

    def head_outputs(self, x: Tensor) -> Tensor:
        """The outputs (B, O) of all targets for rows x_BF."""
        codes, numbers = torch.split(x, [len(self.embeddings), x.shape[1] - len(self.embeddings)], 1)
        embedded = [embed(codes[:, place].long()) for place, embed in enumerate(self.embeddings)]
        x_BTD: Tensor = self.embed(torch.cat([*embedded, numbers], 1)).unsqueeze(1)
        for site in self.sites:
            y = site(x_BTD)
            x_BTD = y + (x_BTD if y.ndim == x_BTD.ndim else x_BTD.unsqueeze(1)) if self.residual else y
        of_views = x_BTD.squeeze(-2)
        inputs = of_views.unbind(1) if of_views.ndim == 3 else [of_views] * len(self.towers)
        return torch.cat([tower(y_BD) for tower, y_BD in zip(self.towers, inputs, strict=True)], 1)


class Tower(nn.Module):
    """Linear, activation, linear: (B, D) -> (B, O). Of a gated activation the plain one beside it, silu."""

    def __init__(self, settings: TabularSettings, outputs: int) -> None:
        super().__init__()
        self.activate = ACTIVATIONS["silu" if settings.activation == "swiglu" else settings.activation]
        self.linear_in = nn.Linear(settings.dim, settings.tower)
        self.linear_out = nn.Linear(settings.tower, outputs)

    def forward(self, x_BD: Tensor) -> Tensor:
        """The target's outputs."""
        outputs: Tensor = self.linear_out(self.activate(self.linear_in(x_BD)))
        return outputs
