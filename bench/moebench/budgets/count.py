"""Count what a variant builds: on the meta device, every parameter, trainable or frozen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from moebench.contract import Layer, LayerShape, Settings, Variant


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
    with torch.random.fork_rng(devices=[]), torch.device("meta"), _NothingDrawn():
        return variant.build(shape, size, settings)


class _NothingDrawn(TorchFunctionMode):
    """Leaves out filling meta tensors with random numbers: torch would import seconds of compiler for it."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        filled = args[0] if args else kwargs.get("tensor")
        draws = getattr(func, "__name__", "") in ("uniform_", "normal_")
        if draws and isinstance(filled, Tensor) and filled.is_meta:
            return filled
        return func(*args, **kwargs)
