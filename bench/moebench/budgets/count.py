"""Count what a variant builds: on the meta device, every parameter, trainable or frozen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from moebench.contract import Layer, LayerShape, Settings, Variant
from moebench.errors import BudgetError


@dataclass(frozen=True)
class Counts:
    """Sizes of a layer or of all layers together.

    total: all parameters. active: those that act on one token. trainable: those with a gradient.
    float_buffers: elements of floating-point buffers, which may not hide parameters.
    """

    total: int
    active: int
    trainable: int
    float_buffers: int

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.total + other.total,
            self.active + other.active,
            self.trainable + other.trainable,
            self.float_buffers + other.float_buffers,
        )


def count_layer(layer: Layer) -> Counts:
    """The counts of a built layer, on any device."""
    parameters = list(layer.parameters())
    return Counts(
        total=sum(p.numel() for p in parameters),
        active=int(layer.active_parameters()),
        trainable=sum(p.numel() for p in parameters if p.requires_grad),
        float_buffers=sum(b.numel() for b in layer.buffers() if b.is_floating_point() or b.is_complex()),
    )


def count_layers(layers: Sequence[Layer]) -> Counts:
    """The sum over layers; a parameter that two layers share counts in both, as it works in both."""
    return sum((count_layer(layer) for layer in layers), Counts(0, 0, 0, 0))


def build_on_meta(variant: Variant, shape: LayerShape, size: int, settings: Settings) -> Layer:
    """Build without memory; torch's generator is left as it was."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        layer = variant.build(shape, size, settings)
    if not isinstance(layer, Layer):
        raise BudgetError(f"{variant.name}: build() gave {layer!r:.40}, not a moebench.contract.Layer.")
    return layer
