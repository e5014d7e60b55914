"""A training step on a toy problem, the losses added as the harness adds them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from moebench.contract import Context, Layer, Routing, Settings

CLASSES = 4


def loss_weights(settings: Settings) -> dict[str, float]:
    """The weights among the settings: ``loss/<name>`` without its prefix."""
    weights = {name: value for name, value in settings.items() if name.startswith("loss/")}
    return {name.removeprefix("loss/"): float(value or 0) for name, value in weights.items()}


def auxiliary(routing: Routing, settings: Settings) -> Tensor:
    """The layer's auxiliary losses, each times its weight."""
    total = torch.zeros(())
    for name, weight in loss_weights(settings).items():
        if weight and name in routing.losses:
            total = total + weight * routing.losses[name]
    return total


class Toy:
    """Labels for inputs, read off the mean token by a fixed linear head, so that only the layer can learn."""

    def __init__(self, inputs: int, out_dim: int, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.target_B = torch.arange(inputs) % CLASSES
        self.head_OC = torch.randn(out_dim, CLASSES, generator=generator)

    def loss(self, y_BTO: Tensor) -> Tensor:
        """Mean cross-entropy of the labels."""
        return F.cross_entropy(y_BTO.float().mean(1) @ self.head_OC, self.target_B)


def train(layer: Layer, settings: Settings, x_BTD: Tensor, steps: int, lr: float = 3e-3) -> list[float]:
    """The toy loss before each of ``steps`` steps of Adam and after the last one; trains in place."""
    seen = steps_of(layer, settings, x_BTD, steps, adam(layer, lr))
    toy = Toy(len(x_BTD), layer(x_BTD).shape[-1])
    layer.eval()
    with torch.no_grad():
        return [*seen, float(toy.loss(layer(x_BTD)))]


def adam(layer: Layer, lr: float = 3e-3) -> torch.optim.Adam:
    """An optimiser of what is trained."""
    return torch.optim.Adam([p for p in layer.parameters() if p.requires_grad], lr=lr)


def steps_of(
    layer: Layer, settings: Settings, x_BTD: Tensor, steps: int, optimizer: torch.optim.Optimizer
) -> list[float]:
    """The toy loss before each of so many steps; the layer stays in training mode."""
    toy = Toy(len(x_BTD), layer(x_BTD).shape[-1])
    layer.train()
    seen = []
    for _ in range(steps):
        routing = layer.route(x_BTD, Context())
        loss = toy.loss(layer.compute(x_BTD, routing))
        seen.append(float(loss.detach()))
        optimizer.zero_grad()
        torch.autograd.backward(loss + auxiliary(routing, settings))
        optimizer.step()
        layer.after_step()
    return seen
