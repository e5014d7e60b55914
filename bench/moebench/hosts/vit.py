"""timm's VisionTransformer with expert layers in place of chosen MLPs."""

from __future__ import annotations

from typing import Any

from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from moebench.contract import Layer
from moebench.hosts.host import Host, Site
from moebench.hosts.settings import ViTSettings
from moebench.tasks import Image, TaskInfo


class _WithoutResidual(nn.Module):
    """A block whose second half is replaced, not refined: x <- x + attention, then x <- layer(norm(x))."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.norm1, self.attn, self.norm2, self.mlp = block.norm1, block.attn, block.norm2, block.mlp

    def forward(self, x_BTD: Tensor, **masks: Any) -> Tensor:
        x_BTD = x_BTD + self.attn(self.norm1(x_BTD), **masks)
        y_BTD: Tensor = self.mlp(self.norm2(x_BTD))
        return y_BTD


class ViT(Host):
    """x_BCHW -> patches -> ``depth`` blocks -> mean over tokens -> (B, O)."""

    def __init__(self, settings: ViTSettings, task: TaskInfo) -> None:
        super().__init__(task.targets)
        image = task.inputs
        assert isinstance(image, Image)  # the shapes of its layers were worked out first
        self.replaced = settings.replaced
        self.body = VisionTransformer(
            img_size=(image.height, image.width),
            patch_size=settings.patch,
            in_chans=image.channels,
            num_classes=task.outputs,
            global_pool="avg",
            class_token=False,
            embed_dim=settings.dim,
            depth=settings.depth,
            num_heads=settings.heads,
        )
        for index in self.replaced:
            block = self.body.blocks[index]
            assert isinstance(block, Block)
            block.mlp = nn.Identity()  # vacant until the layer comes
            if not settings.residual:
                self.body.blocks[index] = _WithoutResidual(block)

    def attach(self, layers: list[Layer]) -> None:
        """Put the layers in the places of the replaced MLPs, first block first."""
        for index, layer in zip(self.replaced, layers, strict=True):
            self.body.blocks[index].mlp = Site(layer)

    def head_outputs(self, x: Tensor) -> Tensor:
        """(B, O) of images x_BCHW."""
        outputs: Tensor = self.body(x)
        return outputs
