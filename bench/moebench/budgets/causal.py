"""What ``Variant.causal`` claims, tried on a built layer: later tokens do not change what it gives for earlier ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from moebench.contract import Layer

TOLERANCE = 2e-5
"""Largest difference, as a share of the largest output, that fp32 sums in another order may make."""


@dataclass(frozen=True)
class Leak:
    """Changing the tokens from ``first`` on changed the outputs of earlier ones: want_BTO became got_BTO.

    training: whether the layer was in training mode. Both outputs end before token ``first``.
    """

    first: int
    training: bool
    got_BTO: Tensor
    want_BTO: Tensor


def find_leak(layer: Layer, x_BTD: Tensor, other_BTD: Tensor, firsts: Iterable[int] | None = None) -> Leak | None:
    """The first leak found when the tokens of ``x_BTD`` from t on are replaced by those of ``other_BTD``.

    firsts: the t that are tried, by default all; each in eval and in training mode. The layer is left in eval mode,
    torch's default generator as it was. None proves nothing: other inputs may show what these do not.
    """
    tried = range(1, x_BTD.shape[1]) if firsts is None else sorted(set(firsts))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for training in (False, True):
            layer.train(training)
            want_BTO = _seeded(layer, x_BTD)
            for first in tried:
                got = _seeded(layer, torch.cat([x_BTD[:, :first], other_BTD[:, first:]], 1))[:, :first]
                want = want_BTO[:, :first]
                # NaN counts as a difference.
                if not bool((got - want).abs().max() <= TOLERANCE * want.abs().max().clamp_min(1e-12)):
                    layer.eval()
                    return Leak(first, training, got, want)
    layer.eval()
    return None


def _seeded(layer: Layer, x_BTD: Tensor) -> Tensor:
    """y_BTO; what the layer draws is the same each time."""
    torch.manual_seed(2)
    y_BTO: Tensor = layer(x_BTD)
    return y_BTO


@torch.no_grad()
def perturb(layer: Layer, seed: int = 0, deviation: float = 0.2) -> Layer:
    """Add normal noise to every trainable parameter, in place, so that nothing hides behind zeros that a layer starts
    from; returns the layer."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in layer.parameters():
        if parameter.requires_grad and parameter.is_floating_point():
            noise = torch.randn(parameter.shape, generator=generator) * deviation
            parameter.add_(noise.to(parameter))
    return layer
