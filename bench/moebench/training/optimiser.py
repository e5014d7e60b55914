"""How the weights are stepped: part of the protocol, the same for every variant, never tuned."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

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
