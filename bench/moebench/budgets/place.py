"""Whether a variant may stand where a host puts its layers: what it claims, and what a layer built for it does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from moebench.contract import Layer, LayerShape, Settings, Variant
from moebench.errors import HostError

KINDS = {"tokens": "tokens", "map": "feature maps"}

INPUTS = 4
TOKENS = 8
"""Of an input that a layer is tried on where the host does not fix them."""


def takes(variant: Variant, shape: LayerShape) -> bool:
    """Whether a layer of this variant can fill the slot."""
    return shape.kind in variant.hosts or "tokens" in variant.hosts


def check_claims(variant: Variant, shape: LayerShape) -> None:
    """:class:`HostError` where the variant's own claims say that it has no place in the host."""
    if not takes(variant, shape):
        kinds = " or ".join(KINDS.get(kind, kind) for kind in variant.hosts)
        raise HostError(
            f"{variant.name} takes part in hosts of {kinds}, and this one is of {KINDS[shape.kind]}.",
            code="host-of-another-kind",
            variant=variant.name,
            kind=shape.kind,
        )
    if variant.reads_ids and shape.vocabulary is None:
        raise HostError(
            f"{variant.name} routes by token ids, and this host has none.", code="no-token-ids", variant=variant.name
        )
    if shape.causal and not variant.causal:
        raise HostError(
            f"{variant.name} has no place in a causal host, because it does not claim that its output for a token "
            "depends on no later one.",
            code="causality-not-claimed",
            variant=variant.name,
        )


def try_claims(variant: Variant, shape: LayerShape, size: int, settings: Settings) -> None:
    """:class:`HostError` where the layer that it builds with these settings looks ahead in a causal host."""
    if not shape.causal:
        return
    with torch.random.fork_rng(devices=[]):
        layer = perturb(variant.layer(shape, size, settings))
    tokens = shape.tokens or TOKENS
    x_BTD, other_BTD = (
        torch.randn(INPUTS, tokens, shape.dim, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)
    )
    leak = find_leak(layer, x_BTD, 3 * other_BTD, {1, tokens // 2, tokens - 1} - {0})
    if leak:
        raise HostError(
            f"{variant.name} has no place in a causal host with {named_settings(settings)}, because changing the "
            f"tokens from {leak.first} on changes its outputs for earlier ones.",
            code="looks-ahead",
            variant=variant.name,
            token=leak.first,
        )


def named_settings(settings: Settings) -> str:
    """``experts=16, top_k=2``."""
    return ", ".join(f"{name}={value}" for name, value in settings.items()) or "its defaults"


ROUNDING = 2e-5
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
                if not bool((got - want).abs().max() <= ROUNDING * want.abs().max().clamp_min(1e-12)):
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
