"""Weights moved off their start, so that nothing hides behind zeros that a layer starts from."""

from __future__ import annotations

import torch

from moebench.contract.layer import Layer


@torch.no_grad()
def stir(layer: Layer, seed: int = 0, deviation: float = 0.2) -> Layer:
    """Add normal noise to every trainable parameter, in place; returns the layer."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in layer.parameters():
        if parameter.requires_grad and parameter.is_floating_point():
            noise = torch.randn(parameter.shape, generator=generator) * deviation
            parameter.add_(noise.to(parameter))
    return layer
