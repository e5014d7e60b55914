"""Untrained models of the norm task on their pairs, over E, P, both routers, with and without a residual."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from moebench.contract import Layer, LayerShape, Variant
from moebench.plugins.find import find_variant
from moebench.plugins.load import load_variant
from moestudies.theorem.gap import Gaps, measure
from moestudies.theorem.pairs import pairs
from moestudies.theorem.router import Array, Kind, router_weights

EXPERTS = (1, 2, 5, 10, 64)
SLOTS = (1, 2)
ROUTERS: tuple[Kind, ...] = ("plain", "l2")
TOKENISED = ((5, 2), (2, 5))
"""T and D of arXiv 2409.00879, appendix C: ten numbers as tokens."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One untrained model. ``outputs``: of what g sees, y or x + y, as a vector. ``sums``: of its sum, the task's g.

    experts E, slots P, tokens T, dim D; ``residual``: whether x is added to the layer's output.
    """

    experts: int
    slots: int
    router: Kind
    residual: bool
    tokens: int
    dim: int
    outputs: Gaps
    sums: Gaps


class LayerOutput(nn.Module):
    """x_BTD -> y_BTD, or x + y."""

    def __init__(self, layer: Layer, residual: bool) -> None:
        super().__init__()
        self.layer, self.residual = layer, residual

    def forward(self, x_BTD: Tensor) -> Tensor:
        """What follows the layer in a network."""
        y_BTD: Tensor = self.layer(x_BTD)
        return x_BTD + y_BTD if self.residual else y_BTD


def default_scales() -> Array:
    """51 scales from 0.1 to 10,000, ten to a decade."""
    return np.logspace(-1, 4, 51)


def untrained_curves(
    variant: str = "soft_moe",
    *,
    bias: bool = False,
    seed: int = 0,
    scale_N: Array | None = None,
    tokenised: Sequence[tuple[int, int]] = TOKENISED,
) -> tuple[Curve, ...]:
    """Every E, P, router, with and without residual, for each (T, D); experts as the norm task has them.

    variant: one that has the settings experts, slots and normalise. An expert is D -> 10 D / E -> D with ReLU, of at
    least one hidden unit; ``seed`` is that of the initial weights.
    """
    loaded = load_variant(find_variant(variant))
    scale_N = default_scales() if scale_N is None else scale_N
    curves = []
    for (tokens, dim), experts, slots, router in itertools.product(tokenised, EXPERTS, SLOTS, ROUTERS):
        shape = LayerShape(dim=dim, out_dim=dim, tokens=tokens, activation="relu", bias=bias)
        layer = _untrained(loaded, shape, experts, slots, router, seed)
        family = pairs(router_weights(layer), tokens)
        known = partial(Curve, experts=experts, slots=slots, router=router, tokens=tokens, dim=dim)
        for residual in (False, True):
            model = LayerOutput(layer, residual)
            outputs = measure(model, family, scale_N)
            sums = measure(model, family, scale_N, _sum_of_outputs)
            curves.append(known(residual=residual, outputs=outputs, sums=sums))
    return tuple(curves)


def _untrained(variant: Variant, shape: LayerShape, experts: int, slots: int, router: Kind, seed: int) -> Layer:
    settings = {"experts": experts, "slots": slots, "normalise": router == "l2"}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return variant.layer(shape, max(1, 10 * shape.dim // experts), settings)


def _sum_of_outputs(model: nn.Module, x_BTD: Tensor) -> Tensor:
    y_B: Tensor = model(x_BTD).sum((1, 2))
    return y_B
