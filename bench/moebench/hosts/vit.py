"""timm's VisionTransformer with expert layers in place of chosen MLPs."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from moebench.contract import Layer
from moebench.hosts.host import Host, Site
from moebench.hosts.settings import HostSettings, LayerPlace, Numbers, image_of
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


class ViTSettings(HostSettings):
    """timm's VisionTransformer with the MLPs of chosen blocks replaced; tokens are averaged before the head.

    replace: the blocks whose MLP is replaced (default all). residual: whether the layer keeps the block's
    residual connection around it.
    """

    name: Literal["vit"] = "vit"
    dim: int = Field(64, ge=2)
    depth: int = Field(2, ge=1)
    heads: int = Field(4, ge=1)
    patch: int = Field(2, ge=1)
    replace: Numbers | None = None
    residual: bool = True

    @model_validator(mode="after")
    def _blocks_exist(self) -> ViTSettings:
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} must be a multiple of heads {self.heads}")
        blocks = self.replaced
        if not blocks or len(set(blocks)) != len(blocks) or not all(0 <= b < self.depth for b in blocks):
            raise ValueError(f"replace {list(blocks)} must name different blocks from 0 to {self.depth - 1}")
        # Spelled out, so that "all" and the list of all are one host with one identity.
        object.__setattr__(self, "replace", blocks)
        return self

    @property
    def replaced(self) -> tuple[int, ...]:
        """The blocks whose MLP is an expert layer, in order."""
        return tuple(range(self.depth)) if self.replace is None else tuple(sorted(self.replace))

    def places(self, task: TaskInfo) -> list[LayerPlace]:
        """One in each replaced block."""
        image = image_of(task, self.patch, "patch")
        tokens = (image.height // self.patch) * (image.width // self.patch)
        return [LayerPlace(self.dim, tokens)] * len(self.replaced)

    def build(self, task: TaskInfo) -> ViT:
        """The network."""
        return ViT(self, task)


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
