"""How one model is trained, and its optimiser: part of the protocol, the same for every variant."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one model is trained.

    steps: optimiser steps, the budget of training. batch: inputs a step. micro_batch: inputs a backward pass,
    for small cards (None: the whole batch); auxiliary losses are then per micro-batch. loss_weights: name ->
    weight of a layer's auxiliary loss. augment: see ``tasks.augment_batch``. seed: of the order of the data,
    the augmentation and the layers' noise. optimiser: a name of :data:`OPTIMISERS`.
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
    optimiser: str = "adamw_cosine"


WARMUP = 0.1
"""Share of the steps in which the learning rate rises linearly."""


@dataclass(frozen=True)
class Optimiser:
    """AdamW's betas; clip: the largest norm of the gradient; schedule: (step, steps) -> share of the rate."""

    betas: tuple[float, float]
    clip: float | None
    schedule: Callable[[int, int], float]


def warm_cosine(step: int, steps: int) -> float:
    """Linear warm-up, then a cosine to zero."""
    warmup = max(1, round(WARMUP * steps))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def constant(step: int, steps: int) -> float:
    """The full rate at every step."""
    return 1.0


OPTIMISERS: Mapping[str, Optimiser] = {
    "adamw_cosine": Optimiser((0.9, 0.95), 1.0, warm_cosine),
    "adam": Optimiser((0.9, 0.999), None, constant),  # as arXiv 2409.00879 trains; with weight decay 0 it is Adam
}
"""By name. Ranked suites use the first."""

RANKED = OPTIMISERS["adamw_cosine"]
