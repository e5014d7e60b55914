"""timm's VisionTransformer with expert layers in place of chosen MLPs."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from moebench.contract import Layer
from moebench.hosts.host import Host, Site
from moebench.hosts.positions import Positions, angles, check_width, rotated, sincos, std_of
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


class _RotaryAttention(nn.Module):
    """timm's attention, with queries and keys turned by the angles (T, F) of their places."""

    angle_TF: Tensor

    def __init__(self, attention: Any, angle_TF: Tensor) -> None:
        super().__init__()
        self.qkv, self.proj, self.heads = attention.qkv, attention.proj, attention.num_heads
        self.register_buffer("angle_TF", angle_TF, persistent=False)

    def forward(self, x_BTD: Tensor, **masks: Any) -> Tensor:
        """y_BTD."""
        batch, tokens, dim = x_BTD.shape
        split = self.qkv(x_BTD).view(batch, tokens, 3, self.heads, dim // self.heads)
        q_BhTd, k_BhTd, v_BhTd = split.permute(2, 0, 3, 1, 4)
        q_BhTd, k_BhTd = rotated(q_BhTd, self.angle_TF), rotated(k_BhTd, self.angle_TF)
        y_BhTd = F.scaled_dot_product_attention(q_BhTd, k_BhTd, v_BhTd)
        y_BTD: Tensor = self.proj(y_BhTd.transpose(1, 2).reshape(batch, tokens, dim))
        return y_BTD


TIMM_STD = 0.02
"""At which timm's own positions start."""

ROTARY_BASE = 100.0
"""Of images, as of arXiv 2403.13298: their sides are shorter than texts."""

STD = 0.5
"""Of learned places at the start, about that of timm's patch embedding of normalised images, 0.58."""


class ViTSettings(HostSettings):
    """timm's VisionTransformer with the MLPs of chosen blocks replaced; tokens are averaged before the head.

    positions: how tokens know their place: ``sincos`` (fixed, of amplitude 1, in two dimensions), ``learned``, or
    ``rotary`` (in two dimensions, in attention alone, so that the layers hardly see it). position_std: the standard
    deviation at which learned positions start (default 0.5; protocol 1 had 0.02).
    replace: the blocks whose MLP is replaced (default all). residual: whether the layer keeps the block's
    residual connection around it.
    """

    name: Literal["vit"] = "vit"
    dim: int = Field(64, ge=2)
    depth: int = Field(2, ge=1)
    heads: int = Field(4, ge=1)
    patch: int = Field(2, ge=1)
    positions: Positions = "sincos"
    position_std: float | None = Field(None, ge=0)
    replace: Numbers | None = None
    residual: bool = True

    @model_validator(mode="after")
    def _blocks_exist(self) -> ViTSettings:
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} must be a multiple of heads {self.heads}")
        object.__setattr__(self, "position_std", std_of(self.positions, self.position_std, STD))
        check_width(self.positions, self.dim, self.heads, axes=2)
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
            pos_embed="learn" if settings.positions == "learned" else "none",
            embed_dim=settings.dim,
            depth=settings.depth,
            num_heads=settings.heads,
        )
        self._place(settings, (image.height // settings.patch, image.width // settings.patch))
        for index in self.replaced:
            block = self.body.blocks[index]
            assert isinstance(block, Block)
            block.mlp = nn.Identity()  # vacant until the layer comes
            if not settings.residual:
                self.body.blocks[index] = _WithoutResidual(block)

    def _place(self, settings: ViTSettings, grid: tuple[int, int]) -> None:
        """Give the body its positions."""
        if settings.positions == "learned":
            assert self.body.pos_embed is not None
            assert settings.position_std is not None  # spelled out when it was validated
            with torch.no_grad():
                self.body.pos_embed.mul_(settings.position_std / TIMM_STD)
        elif settings.positions == "sincos":
            del self.body.pos_embed  # timm adds what it finds there
            self.body.register_buffer("pos_embed", sincos(grid, settings.dim).unsqueeze(0), persistent=False)
        else:
            angle_TF = angles(grid, settings.dim // settings.heads // 2, ROTARY_BASE)
            for block in self.body.blocks:
                block.attn = _RotaryAttention(block.attn, angle_TF)

    def attach(self, layers: list[Layer]) -> None:
        """Put the layers in the places of the replaced MLPs, first block first."""
        for index, layer in zip(self.replaced, layers, strict=True):
            self.body.blocks[index].mlp = Site(layer)

    def head_outputs(self, x: Tensor) -> Tensor:
        """(B, O) of images x_BCHW."""
        outputs: Tensor = self.body(x)
        return outputs
