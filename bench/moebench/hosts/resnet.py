"""timm's ResNet with expert layers in place of chosen blocks."""

from __future__ import annotations

from typing import Any

import torch
from timm.layers.norm import GroupNorm1
from timm.models import resnet
from torch import Tensor, nn

from moebench.contract import Layer
from moebench.hosts.host import Host, Site
from moebench.hosts.settings import STAGES, ResNetSettings
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
        self.places = [settings.place(index) for index in settings.replaced]
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
