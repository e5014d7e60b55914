"""A whole model from a seed: the host first, so that its weights are the same under every variant."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from moebench.contract import Settings, Variant
from moebench.hosts.host import Host
from moebench.hosts.registry import layer_shapes
from moebench.hosts.settings import (
    BareSettings,
    DecoderSettings,
    HostSettings,
    ResNetSettings,
    SingleLayerSettings,
    TokenSumSettings,
    ViTSettings,
)
from moebench.tasks import TaskInfo


def build_model(
    host: HostSettings, task: TaskInfo, variant: Variant, sizes: Sequence[int], settings: Settings, seed: int
) -> Host:
    """Seed torch's default generator, build the host, then its layers in order, all on the CPU in fp32."""
    torch.manual_seed(seed)
    model = build_host(host, task)
    shapes = layer_shapes(host, task)
    # A fixed point in the stream of random numbers: the layers' draws do not depend on the host's.
    torch.manual_seed(seed + 1)
    model.attach([variant.layer(shape, size, settings) for shape, size in zip(shapes, sizes, strict=True)])
    return model


def build_host(host: HostSettings, task: TaskInfo) -> Host:
    """The host alone, its places vacant."""
    if isinstance(host, ViTSettings):
        from moebench.hosts.vit import ViT  # timm takes seconds to import

        return ViT(host, task)
    if isinstance(host, ResNetSettings):
        from moebench.hosts.resnet import ResNet

        return ResNet(host, task)
    if isinstance(host, DecoderSettings):
        from moebench.hosts.decoder import Decoder

        return Decoder(host, task)
    if isinstance(host, BareSettings):
        from moebench.hosts.bare import Bare

        return Bare()
    if isinstance(host, TokenSumSettings):
        from moebench.hosts.token_sum import TokenSum

        return TokenSum(host, task)
    assert isinstance(host, SingleLayerSettings)
    from moebench.hosts.single_layer import SingleLayer

    return SingleLayer(host, task)
