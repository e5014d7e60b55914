"""A training step on a toy problem, the losses added as the harness adds them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from moebench.contract import Context, Layer, Routing, Settings
from moebench.contract.variant import loss_weights
from moebench.training import loop

CLASSES = 4


def auxiliary(routing: Routing, settings: Settings) -> Tensor | float:
    """The layer's auxiliary losses, each times its weight."""
    return loop.auxiliary([routing], loss_weights(settings))


def toy_loss(y_BTO: Tensor, *, exact: bool = False) -> Tensor:
    """Cross-entropy of labels predicted from the mean token by a fixed linear head: only the layer can learn.

    In float32, or as ``exact`` as the outputs are.
    """
    head_OC = torch.randn(y_BTO.shape[-1], CLASSES, generator=torch.Generator().manual_seed(0))
    kind = y_BTO.dtype if exact else torch.float32
    return F.cross_entropy(y_BTO.to(kind).mean(1) @ head_OC.to(kind), torch.arange(len(y_BTO)) % CLASSES)


def train(layer: Layer, settings: Settings, x_BTD: Tensor, steps: int) -> list[float]:
    """The toy loss before each of ``steps`` steps of Adam and after the last one; trains in place."""
    losses = steps_of(layer, settings, x_BTD, steps, adam(layer))
    layer.eval()
    with torch.no_grad():
        return [*losses, float(toy_loss(layer(x_BTD)))]


def adam(layer: Layer) -> torch.optim.Adam:
    """An optimiser of what is trained."""
    return torch.optim.Adam([p for p in layer.parameters() if p.requires_grad], lr=3e-3)


def steps_of(
    layer: Layer, settings: Settings, x_BTD: Tensor, steps: int, optimizer: torch.optim.Optimizer
) -> list[float]:
    """The toy loss before each of so many steps; the layer stays in training mode."""
    layer.train()
    losses = []
    for _ in range(steps):
        routing = layer.route(x_BTD, Context())
        loss = toy_loss(layer.compute(x_BTD, routing))
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        torch.autograd.backward(loss + auxiliary(routing, settings))
        optimizer.step()
        layer.after_step()
    return losses
