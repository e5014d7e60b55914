"""The paper's host (arXiv 2409.00879, section 4): image -> patches -> one layer -> flatten -> linear head."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from moebench.contract import Layer
from moebench.hosts.host import Host, Site
from moebench.hosts.settings import Activation, HostSettings, LayerPlace, image_of
from moebench.tasks import Image, TaskInfo


class SingleLayerSettings(HostSettings):
    """The paper's host: patches of the image as tokens, one layer, flatten, linear head.

    grid: the image is cut into grid x grid patches. residual: whether the patches are added to the layer's
    output. layer_norm: whether the layer sees normalised patches, with a learned scale and shift.
    """

    name: Literal["single_layer"] = "single_layer"
    activation: Activation = "relu"
    grid: int = Field(2, ge=1)
    residual: bool = False
    layer_norm: bool = False

    def places(self, task: TaskInfo) -> list[LayerPlace]:
        """One, on grid x grid patches."""
        image = image_of(task, self.grid, "grid")
        return [LayerPlace(image.channels * (image.height // self.grid) * (image.width // self.grid), self.grid**2)]

    def build(self, task: TaskInfo) -> SingleLayer:
        """The network."""
        return SingleLayer(self, task)


class SingleLayer(Host):
    """x_BCHW -> tokens (B, grid^2, C H W / grid^2) -> layer -> (B, O)."""

    def __init__(self, settings: SingleLayerSettings, task: TaskInfo) -> None:
        super().__init__(task.targets)
        image = task.inputs
        assert isinstance(image, Image)  # the shapes of its layers were worked out first
        height, width = image.height, image.width
        self.grid = settings.grid
        self.residual = settings.residual
        self.head = nn.Linear(image.channels * height * width, task.outputs)
        width_D = image.channels * (height // settings.grid) * (width // settings.grid)
        self.norm = nn.LayerNorm(width_D) if settings.layer_norm else nn.Identity()
        self.site: nn.Module = nn.Identity()

    def attach(self, layers: list[Layer]) -> None:
        """Put the one layer in its place."""
        (layer,) = layers
        self.site = Site(layer)

    def head_outputs(self, x: Tensor) -> Tensor:
        """(B, O) of images x_BCHW."""
        x_BTD = self.patches(x)
        y_BTD = self.site(self.norm(x_BTD))
        if self.residual:
            y_BTD = x_BTD + y_BTD
        outputs: Tensor = self.head(y_BTD.flatten(1))
        return outputs

    def patches(self, x_NCHW: Tensor) -> Tensor:
        """Cut the image into grid x grid patches, row by row, each flattened as (channel, row, column)."""
        n, c, h, w = x_NCHW.shape
        g = self.grid
        cut = x_NCHW.reshape(n, c, g, h // g, g, w // g)
        return cut.permute(0, 2, 4, 1, 3, 5).reshape(n, g * g, -1)
