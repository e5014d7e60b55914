"""Whether a variant may stand where a host puts its layers: what it claims, and what a layer built for it does."""

from __future__ import annotations

import torch

from moebench.budgets.causal import find_leak, perturb
from moebench.contract import LayerShape, Settings, Variant
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
