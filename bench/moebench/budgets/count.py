"""Count what a variant builds: on the meta device, every parameter, trainable or frozen."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass

import torch
from torch import Tensor

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
        return Counts(*map(operator.add, astuple(self), astuple(other)))


def count_layer(layer: Layer) -> Counts:
    """The counts of a built layer, on any device."""
    parameters = list(layer.parameters())
    return Counts(
        total=sum(map(numbers_in, parameters)),
        active=active_parameters(layer),
        trainable=sum(numbers_in(p) for p in parameters if p.requires_grad),
        float_buffers=sum(numbers_in(b) for b in layer.buffers() if b.is_floating_point() or b.is_complex()),
    )


def numbers_in(tensor: Tensor) -> int:
    """Its elements; a complex one counts as two."""
    return tensor.numel() * (2 if tensor.is_complex() else 1)


def active_parameters(layer: Layer, *, products: bool = False) -> int:
    """Parameters that act on one token: all, less the share of the experts that it did not choose; of experts that
    differ in size, under an even load. Experts without parameters are left out, as if no token chose them.
    ``products``: without vectors, which take no matrix product.
    """
    of_experts = layer.expert_parameters() if layer.num_experts else {}
    counted = {n: p for n, p in layer.named_parameters() if not products or p.ndim - (n in of_experts) >= 2}
    total = sum(map(numbers_in, counted.values()))
    if not layer.num_experts:
        return total
    expert_total = sum(numbers_in(p) for name, p in counted.items() if name in of_experts)
    holders = layer.num_experts - len(empty_experts(layer))
    idle = holders - min(experts_per_token(layer), holders)
    return total - int(expert_total * idle / holders)


def experts_held(layer: Layer, name: str) -> range:
    """The experts along the axis of one of its expert parameters: all, or those that the layer names."""
    own: Callable[[str], range] | None = getattr(layer, "experts_held", None)
    return range(layer.num_experts) if own is None else own(name)


def empty_experts(layer: Layer) -> list[int]:
    """Those without parameters of their own, such as a zero or a copy expert, among experts of which some have any."""
    named = {e for name in layer.expert_parameters() for e in experts_held(layer, name)}
    return [e for e in range(layer.num_experts) if e not in named] if named else []


def experts_per_token(layer: Layer) -> float:
    """How many experts act on a token: K, or all, or the mean that a layer gives in which numbers differ."""
    mean: Callable[[], float] | None = getattr(layer, "mean_experts_per_token", None)
    if mean is not None:
        return mean()
    return layer.num_experts if layer.top_k is None else layer.top_k


def count_layers(layers: Sequence[Layer]) -> Counts:
    """The sum over layers; a parameter that two layers share counts in both, as it works in both."""
    return sum((count_layer(layer) for layer in layers), Counts(0, 0, 0, 0))


def build_on_meta(variant: Variant, shape: LayerShape, size: int, settings: Settings) -> Layer:
    """Build without memory; torch's generator is left as it was."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        return variant.layer(shape, size, settings)
