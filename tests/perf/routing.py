"""Tokens whose routing is known: the same weights of the router in every layer, and inputs made for wanted logits."""

from __future__ import annotations

import torch
from sizes import Size
from torch import Tensor

KINDS = ("balanced", "learned", "skewed")


def wanted_logits(kind: str, size: Size, generator: torch.Generator) -> Tensor:
    """logits_NE. balanced: choices in turn. learned: experts of unequal popularity, as trained routers have them (the
    busiest has about twice its share). skewed: one expert is everybody's first choice, the rest as learned.
    """
    tokens, experts = size.inputs * size.tokens, size.experts
    noise_NE = torch.randn(tokens, experts, generator=generator)
    if kind == "balanced":
        turn_NK = torch.arange(tokens * size.per_token).view(tokens, size.per_token) % experts
        return (0.1 * noise_NE).scatter_add_(1, turn_NK, torch.full(turn_NK.shape, 4.0))
    logits_NE = noise_NE + torch.linspace(0.7, -0.7, experts)[torch.randperm(experts, generator=generator)]
    if kind == "skewed":
        logits_NE[:, 0] += 8.0
    return logits_NE


def router_weight(size: Size, generator: torch.Generator) -> Tensor:
    """weight_DE, small and of full rank."""
    return torch.randn(size.dim, size.experts, generator=generator) * size.dim**-0.5


def tokens_for(logits_NE: Tensor, weight_DE: Tensor, size: Size, generator: torch.Generator) -> Tensor:
    """x_BTD, normal but for what makes x W the wanted logits."""
    x_ND = torch.randn(len(logits_NE), size.dim, generator=generator)
    x_ND += (logits_NE - x_ND @ weight_DE) @ torch.linalg.pinv(weight_DE)
    return x_ND.view(size.inputs, size.tokens, size.dim)
