"""FLOPs of the mathematics: counted on real tensors with the loop backend, at nominal routing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from moebench.contract import Layer, LayerShape
from moebench.plugins.backends import choose_backend


def count_flops(layer: Layer, shape: LayerShape) -> int:
    """FLOPs of one forward pass for one input of ``shape.tokens`` tokens (1 where the host does not fix them).

    Multiply and add count as two, as torch counts them. The input is drawn without touching the global generator.
    """
    tokens = shape.tokens or 1
    weight = next(iter(layer.parameters()), torch.empty(0))
    generator = torch.Generator().manual_seed(0)
    x_BTD = torch.randn(1, tokens, shape.dim, generator=generator).to(weight.device)
    training = layer.training
    layer.eval()
    choose_backend(layer, "loop")
    try:
        return _counted(layer, x_BTD)
    finally:
        choose_backend(layer, None)
        layer.train(training)


def _counted(layer: Layer, x_BTD: Tensor) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        layer.compute(x_BTD, layer.nominal_routing(x_BTD))
    return int(counter.get_total_flops())


def dense_flops(shapes: Sequence[LayerShape], parameters: int) -> int:
    """FLOPs per input of plain two-layer MLPs with ``parameters`` parameters spread over the layers.

    The yardstick of the total axis: a layer that needs more than 1.1 times as much passes its tokens repeatedly
    through shared weights.
    """
    share = parameters / len(shapes)
    return int(sum(2 * (shape.tokens or 1) * _mlp_weights(shape, share) for shape in shapes))


def _mlp_weights(shape: LayerShape, parameters: float) -> float:
    """Weights (without biases) of an MLP with the given number of parameters."""
    bias = int(shape.bias)
    hidden = (parameters - bias * shape.out_dim) / (shape.dim + shape.out_dim + bias)
    return max(0.0, hidden) * (shape.dim + shape.out_dim)


def model_flops(model: nn.Module, x_NCHW: Tensor) -> int:
    """FLOPs of one whole-model forward pass for one input, at the routing that comes, on the loop backend."""
    choose_backend(model, "loop")
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(x_NCHW[:1])
    finally:
        choose_backend(model, None)
    return int(counter.get_total_flops())
