"""The paper's host (arXiv 2409.00879, section 4): image -> patches -> one layer -> flatten -> linear head."""

from __future__ import annotations

from torch import Tensor, nn

from moebench.contract import Layer
from moebench.hosts.host import Host, Site
from moebench.hosts.settings import SingleLayerSettings
from moebench.tasks import Image, TaskInfo


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
