"""The one training loop. Every variant, task and seed goes through these lines."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moebench.contract import Layer, Routing
from moebench.hosts.host import Call, Host
from moebench.tasks import Split, augment_batch

# Part of the protocol, the same for everyone: not tuned, not a suite's choice.
WARMUP = 0.1  # share of the steps in which the learning rate rises linearly
BETAS = (0.9, 0.95)
CLIP = 1.0  # largest norm of the gradient

LOOK_EVERY = 50
"""Steps between two looks at whether the loss is still a number; on a GPU each look waits for the device."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one model is trained.

    steps: optimiser steps, the budget of training. batch: inputs a step. micro_batch: inputs a backward pass,
    for small cards (None: the whole batch); auxiliary losses are then per micro-batch. loss_weights: name ->
    weight of a layer's auxiliary loss. augment: see ``tasks.augment_batch``. seed: of the order of the data,
    the augmentation and the layers' noise.
    """

    steps: int
    batch: int
    micro_batch: int | None
    lr: float
    weight_decay: float
    loss_weights: Mapping[str, float]
    precision: str
    augment: str | None
    seed: int


@dataclass(frozen=True)
class Curves:
    """What was seen at each step: loss_S of the task in nats, and mass_SLE summed over the batch, per layer.

    S ends early where training did; E is 0 where no layer has experts.
    """

    loss_S: np.ndarray
    mass_SLE: np.ndarray

    @property
    def finite(self) -> bool:
        """Whether the loss stayed a number."""
        return bool(np.isfinite(self.loss_S).all())


def train(model: Host, data: Split, recipe: Recipe) -> Curves:
    """Train in place, where the model and the data are; stops early only if the loss is not finite."""
    device = data.inputs.device
    # Two streams, apart from those of the initial weights (seed and seed + 1, see hosts.build): the layers'
    # noise, and the order of the data, drawn on the CPU so that it is the same on every device.
    torch.manual_seed(recipe.seed + 2)
    generator = torch.Generator().manual_seed(recipe.seed + 3)
    layers = model.layers()
    curves = _Recorder(recipe.steps, layers, device)
    optimizer = torch.optim.AdamW(_groups(model, recipe.weight_decay), lr=recipe.lr, betas=BETAS, fused=True)
    model.train()

    for step, picked in enumerate(_batches(len(data.targets), recipe, generator, device)):
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * schedule(step, recipe.steps)
        for part in torch.split(picked, recipe.micro_batch or recipe.batch):
            x_NCHW, target_N = data.inputs[part], data.targets[part]
            if recipe.augment:
                x_NCHW = augment_batch(x_NCHW, recipe.augment, generator)
            call = Call()
            with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
                loss = F.cross_entropy(model.run(x_NCHW, call).float(), target_N)
            share = len(part) / len(picked)
            torch.autograd.backward((loss + auxiliary(call.routings, recipe.loss_weights)) * share)
            curves.add(step, loss.detach() * share, call.routings)
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        for layer in layers:
            layer.after_step()
        if (step + 1) % LOOK_EVERY == 0 and not curves.finite_at(step):
            break
    model.eval()
    return curves.done()


def schedule(step: int, steps: int) -> float:
    """Share of the learning rate at a step: linear warm-up, then a cosine to zero."""
    warmup = max(1, round(WARMUP * steps))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def auxiliary(routings: list[Routing], weights: Mapping[str, float]) -> Tensor | float:
    """The auxiliary losses, added here and nowhere else: sum over names of weight x mean over layers."""
    total: Tensor | float = 0.0
    for name, weight in weights.items():
        values = [routing.losses[name] for routing in routings if name in routing.losses]
        if weight and values:
            total = total + weight * torch.stack(values).mean()
    return total


def _batches(inputs: int, recipe: Recipe, generator: torch.Generator, device: torch.device) -> tuple[Tensor, ...]:
    """Indices of each step's batch: one permutation of the data after the other, cut into whole batches."""
    needed = recipe.steps * recipe.batch
    order = [torch.randperm(inputs, generator=generator) for _ in range(math.ceil(needed / inputs))]
    return torch.split(torch.cat(order)[:needed].to(device), recipe.batch)


def _groups(model: Host, weight_decay: float) -> list[dict[str, object]]:
    """Weight decay for matrices, none for vectors; a stack of E vectors is still vectors."""
    stacked: set[int] = set()
    for layer in model.layers():
        of_experts = layer.expert_parameters()
        stacked |= {id(parameter) for name, parameter in layer.named_parameters() if name in of_experts}
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for parameter in model.parameters():
        if parameter.requires_grad:
            axes = parameter.ndim - (id(parameter) in stacked)
            (decayed if axes >= 2 else free).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]


class _Recorder:
    """Collects the curves on the device, so that no step waits for a number."""

    def __init__(self, steps: int, layers: list[Layer], device: torch.device) -> None:
        experts = max((layer.num_experts for layer in layers), default=0)
        self._loss_S = torch.zeros(steps, device=device)
        self._mass_SLE = torch.zeros(steps, len(layers), experts, device=device)
        self._steps = 0

    def add(self, step: int, loss: Tensor, routings: list[Routing]) -> None:
        self._steps = step + 1
        self._loss_S[step].add_(loss)
        for index, routing in enumerate(routings):
            if routing.mass_BE is not None:
                mass_E = routing.mass_BE.detach().sum(0)
                self._mass_SLE[step, index, : len(mass_E)].add_(mass_E)

    def finite_at(self, step: int) -> bool:
        return bool(self._loss_S[step].isfinite())

    def done(self) -> Curves:
        loss_S, mass_SLE = self._loss_S[: self._steps], self._mass_SLE[: self._steps]
        return Curves(loss_S.cpu().numpy(), mass_SLE.cpu().numpy())
