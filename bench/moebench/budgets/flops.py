"""FLOPs of the mathematics: counted on real tensors with the loop backend, at nominal routing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from moebench.budgets.count import active_parameters, empty_experts, experts_held, experts_per_token
from moebench.contract import Context, Layer, LayerShape, Routing, Settings, Variant
from moebench.plugins.backends import choose_backend


def count_flops(layer: Layer, shape: LayerShape) -> int:
    """FLOPs of one forward pass for one input of ``shape.tokens`` tokens (1 if the host does not fix them).

    Multiply and add count as two, as torch counts them. The layer's modes and torch's generator are left as
    they were; its backend becomes its own choice.
    """
    x_BTD = _random_input(layer, shape)
    with counting(layer):
        return flops_of(layer, lambda: layer.compute(x_BTD, nominal_routing(layer, x_BTD)))


def flops_at(variant: Variant, shape: LayerShape, size: int, settings: Settings, seed: int = 0) -> int:
    """FLOPs per input of one layer, built for it of real tensors under one seed, so that they depend on no other
    weights; torch's generator is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return count_flops(variant.layer(shape, size, settings), shape)


def flops_of_layers(variant: Variant, shapes: Sequence[LayerShape], sizes: Sequence[int], settings: Settings) -> int:
    """FLOPs per input of all layers; those that differ only in their place are counted once."""
    at = cache(lambda shape, size: flops_at(variant, shape, size, settings))
    alike = [dataclasses.replace(shape, index=0) for shape in shapes]
    return sum(at(shape, size) for shape, size in zip(alike, sizes, strict=True))


class FlopsBounds(NamedTuple):
    """What the FLOPs of layers must lie between, by the parameters that act on a token. least: 0 where nothing is
    known.
    """

    least: float
    most: float


OVER_ACTIVE, UNDER_ACTIVE = 1.1, 0.9


def flops_bounds(layers: Sequence[Layer], shapes: Sequence[LayerShape], *, causal: bool) -> FlopsBounds:
    """A token is multiplied with each of its active parameters once, or as often as a layer's ``passes`` says.

    least: of layers that claim to be causal, whose tokens are worked on one by one, and that look nothing up.
    """
    least = most = 0.0
    for layer, shape in zip(layers, shapes, strict=True):
        each = 2.0 * (shape.tokens or 1)
        most += OVER_ACTIVE * each * layer.passes * _largest_active(layer)
        if causal and not any(isinstance(module, nn.Embedding | nn.EmbeddingBag) for module in layer.modules()):
            least += UNDER_ACTIVE * each * active_parameters(layer, products=True)
    return FlopsBounds(least, most)


def choice_flops(layer: Layer, shape: LayerShape) -> float:
    """Of those of :func:`count_flops`, what one choice of one token costs, in a layer in which tokens choose."""
    x_BTD = _random_input(layer, shape)
    with counting(layer):
        routing = nominal_routing(layer, x_BTD)
        choices, none_BE = int(routing.load_BE.sum()), x_BTD.new_zeros(1, layer.num_experts, dtype=torch.bool)  # type: ignore[union-attr]
        every = flops_of(layer, lambda: layer.compute(x_BTD, routing))
        none = flops_of(layer, lambda: layer.compute(x_BTD, routing, none_BE))
    return (every - none) / max(1, choices)


def _random_input(layer: Layer, shape: LayerShape) -> Tensor:
    """One input, in the type and on the device of the layer's weights."""
    weight = next((p for p in layer.parameters() if p.is_floating_point()), torch.empty(0))
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, shape.tokens or 1, shape.dim, generator=generator).to(weight)


def _largest_active(layer: Layer) -> float:
    """Active parameters where every choice is of an expert that has any: more than a mean one where some have none."""
    active, of_experts = float(active_parameters(layer)), layer.expert_parameters()
    if not layer.num_experts or not of_experts:
        return active
    named = layer.named_parameters()
    sizes = {name: (p.numel(), len(experts_held(layer, name))) for name, p in named if name in of_experts}
    share = experts_per_token(layer)
    holders = layer.num_experts - len(empty_experts(layer))
    mean = sum(numel for numel, _ in sizes.values()) * min(share, holders) / holders
    return active - mean + sum(numel * min(share, count) / count for numel, count in sizes.values() if count)


@contextmanager
def counting(model: nn.Module) -> Iterator[None]:
    """In evaluation, without gradients; the modes of all modules and torch's generator are as before afterwards."""
    # Each has its own mode back: a part may have been put into eval on purpose.
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def nominal_routing(layer: Layer, x_BTD: Tensor) -> Routing:
    """The routing whose cost is quoted as the layer's FLOPs: a balanced load, where a layer defines one."""
    own: Callable[[Tensor], Routing] | None = getattr(layer, "nominal_routing", None)
    return layer.route(x_BTD, Context()) if own is None else own(x_BTD)


def dense_flops(shapes: Sequence[LayerShape], parameters: int) -> int:
    """FLOPs per input of plain two-layer MLPs with ``parameters`` parameters spread over the layers.

    The yardstick of the total axis: a layer that needs more than 1.1 times as much passes its tokens
    repeatedly through shared weights.
    """
    share, total = parameters / len(shapes), 0.0
    for shape in shapes:
        both = shape.dim + shape.out_dim
        hidden = (share - shape.bias * shape.out_dim) / (both + shape.bias)
        total += 2 * (shape.tokens or 1) * (max(0.0, hidden) * both)
    return int(total)


def model_flops(model: nn.Module, inputs: Tensor) -> int:
    """FLOPs of one whole-model forward pass for one input, at the routing that comes, on the loop backend."""
    with torch.no_grad():
        return flops_of(model, lambda: model(inputs[:1]))


def flops_of(model: nn.Module, work: Callable[[], object], *, warm: bool = True) -> int:
    """FLOPs of ``work()``, which is done twice with the model's experts on the loop backend; it becomes its own choice.

    Twice, because a part may register the FLOPs of its operators when it is first used, and a counter knows only those
    that were registered before it was made. Not ``warm``: once, of a model that was used before.
    """
    choose_backend(model, "loop")
    try:
        if warm:
            work()
        with FlopCounterMode(display=False) as counter:
            work()
    finally:
        choose_backend(model, None)
    return int(counter.get_total_flops())
