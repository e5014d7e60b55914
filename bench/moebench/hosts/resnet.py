"""timm's ResNet with expert layers in place of chosen blocks."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import model_validator
from timm.layers.norm import GroupNorm1
from timm.models import resnet
from torch import Tensor, nn

from moebench.contract import Layer
from moebench.contract.shape import GATED
from moebench.hosts.host import Host, Site
from moebench.hosts.settings import Activation, HostSettings, LayerPlace, Numbers, image_of
from moebench.tasks import Image, TaskInfo


class OnMap(nn.Module):
    """Hands a map x_BDhw to a layer as tokens, row by row, and gives its outputs back as a map."""

    def __init__(self) -> None:
        super().__init__()
        self.site: nn.Module = nn.Identity()  # vacant until the layer comes

    def forward(self, x_BDhw: Tensor) -> Tensor:
        """y_BOhw."""
        y_BTO: Tensor = self.site(x_BDhw.flatten(2).mT)
        return y_BTO.mT.reshape(len(x_BDhw), -1, *x_BDhw.shape[2:])


STAGES = 4
"""So many has timm's ResNet."""


class ResNetSettings(HostSettings):
    """timm's ResNet of basic blocks, for small images.

    A stem of three convolutions halves height and width, and each stage but the first halves them again.

    channels, blocks: of each stage. replace: the replaced blocks, counted from 0 through all stages (default all that
    keep their input's shape). residual: whether the block's last norm, shortcut and activation stay around the layer,
    which then stands in the place of its convolutions; without them the layer is the whole block.
    """

    name: Literal["resnet"] = "resnet"
    activation: Activation = "relu"
    channels: Numbers = (16, 32, 64)
    blocks: Numbers = (1, 1, 2)
    replace: Numbers | None = None
    residual: bool = True

    @model_validator(mode="after")
    def _blocks_exist(self) -> ResNetSettings:
        if self.activation in GATED:
            raise ValueError(f"activation '{self.activation}' is gated; feature maps need an elementwise one")
        if len(self.channels) != len(self.blocks) or not 1 <= len(self.blocks) <= STAGES:
            raise ValueError(
                f"channels {list(self.channels)} and blocks {list(self.blocks)} must each name the same 1 to {STAGES} "
                "stages"
            )
        if min(self.blocks) < 1 or min(self.channels) < 2 or self.channels[0] % 2:
            raise ValueError(
                f"channels {list(self.channels)} must be at least 2, the first even, and blocks {list(self.blocks)} at "
                "least 1"
            )
        able = [index for index in range(sum(self.blocks)) if self.keeps_shape(index)]
        blocks = able if self.replace is None else sorted(self.replace)
        if not blocks or len(set(blocks)) != len(blocks) or not set(blocks) <= set(able):
            raise ValueError(f"replace {blocks} must name different blocks that keep their input's shape, from {able}")
        # Spelled out, so that "all" and the list of all are one host with one identity.
        object.__setattr__(self, "replace", tuple(blocks))
        return self

    @property
    def replaced(self) -> tuple[int, ...]:
        """The blocks that hold an expert layer, in order."""
        assert self.replace is not None  # spelled out when it was validated
        return self.replace

    def stage_of(self, index: int) -> tuple[int, int]:
        """(stage, block within it) of a block."""
        for stage, blocks in enumerate(self.blocks):
            if index < blocks:
                return stage, index
            index -= blocks
        raise IndexError(f"no block {index}")

    def keeps_shape(self, index: int) -> bool:
        """Whether a block gives a map of its input's channels, height and width."""
        stage, within = self.stage_of(index)
        return stage == 0 or within > 0

    def channels_of(self, index: int) -> int:
        """D: the channels of a block."""
        return self.channels[self.stage_of(index)[0]]

    def grid(self, index: int, image: tuple[int, int]) -> tuple[int, int]:
        """(height, width) of a block's map: halved, upwards, by the stem and by every stage after the first."""
        half = 2 ** (1 + self.stage_of(index)[0])
        return -(-image[0] // half), -(-image[1] // half)

    def places(self, task: TaskInfo) -> list[LayerPlace]:
        """One in each replaced block, on its map."""
        image = image_of(task)
        grids = {index: self.grid(index, (image.height, image.width)) for index in self.replaced}
        return [LayerPlace(self.channels_of(index), grid[0] * grid[1], grid) for index, grid in grids.items()]

    def build(self, task: TaskInfo) -> ResNet:
        """The network."""
        return ResNet(self, task)


class ResNet(Host):
    """x_BCHW -> stem -> stages of basic blocks -> mean over places -> (B, O).

    Norms are over one image's whole map (one group), not over the batch: an image's output does not depend on its batch
    mates, an expert has no statistics of the few images that came to it, and several ranks agree with one process.
    """

    def __init__(self, settings: ResNetSettings, task: TaskInfo) -> None:
        super().__init__(task.targets)
        assert isinstance(task.inputs, Image)  # the shapes of its layers were worked out first
        block: Any = resnet.BasicBlock
        body: Any = resnet.ResNet(
            block,
            settings.blocks,
            num_classes=task.outputs,
            in_chans=task.inputs.channels,
            stem_type="deep",
            stem_width=settings.channels[0] // 2,
            channels=settings.channels,
            act_layer=settings.activation,
            norm_layer=GroupNorm1,
            zero_init_last=False,  # or no expert would be heard at first
        )
        body.maxpool = nn.Identity()  # for large images
        for stage in range(len(settings.blocks), STAGES):
            setattr(body, _stage_name(stage), nn.Identity())
        self.body: nn.Module = body
        self.places = [settings.stage_of(index) for index in settings.replaced]
        for stage, index in self.places:
            blocks = self._stage(stage)
            if settings.residual:
                _give_way(blocks[index])
            else:
                blocks[index] = OnMap()

    def attach(self, layers: list[Layer]) -> None:
        """Put the layers in the places of the replaced blocks, first block first."""
        for (stage, index), layer in zip(self.places, layers, strict=True):
            block = self._stage(stage)[index]
            place = block if isinstance(block, OnMap) else block.conv1
            assert isinstance(place, OnMap)
            place.site = Site(layer)

    def head_outputs(self, x: Tensor) -> Tensor:
        """(B, O) of images x_BCHW."""
        # Channels last, as tokens have them, and as a CPU's convolutions are fastest.
        outputs: Tensor = self.body(x.contiguous(memory_format=torch.channels_last))
        return outputs

    def _stage(self, stage: int) -> nn.Sequential:
        blocks = getattr(self.body, _stage_name(stage))
        assert isinstance(blocks, nn.Sequential)
        return blocks


def _stage_name(stage: int) -> str:
    """As timm calls it."""
    return f"layer{stage + 1}"


def _give_way(block: nn.Module) -> None:
    """Leave of a basic block what stands around its convolutions: last norm, shortcut, activation."""
    block.conv1, block.bn1, block.act1, block.conv2 = OnMap(), nn.Identity(), nn.Identity(), nn.Identity()
