"""Which experts act: functions from a layer's routing to ``keep_BE``, chosen inside the layer, per input."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from moebench.contract import Routing
from moebench.hosts.host import Select


def top_mass(share: float) -> Select:
    """The experts of largest mass for this input (Algorithm 1 of arXiv 2409.00879), k = share of E."""

    def select(index: int, routing: Routing) -> Tensor:
        mass_BE = _mass(routing)
        return keep_largest(mass_BE, round(share * mass_BE.shape[1]))

    return select


def static(share: float, mean_mass: Sequence[Tensor]) -> Select:
    """The same experts for every input: those of largest mean mass, ``mean_mass[layer]`` of shape (E,)."""

    def select(index: int, routing: Routing) -> Tensor:
        mass_BE = _mass(routing)
        fixed_E = mean_mass[index].to(mass_BE.device)
        return keep_largest(fixed_E.expand_as(mass_BE), round(share * mass_BE.shape[1]))

    return select


def random(share: float, generator: torch.Generator) -> Select:
    """An independent random subset for each input and layer; the generator is on the CPU."""

    def select(index: int, routing: Routing) -> Tensor:
        mass_BE = _mass(routing)
        draw_BE = torch.rand(mass_BE.shape, generator=generator).to(mass_BE.device)
        return keep_largest(draw_BE, round(share * mass_BE.shape[1]))

    return select


def nothing(index: int, routing: Routing) -> Tensor:
    """No expert acts; residuals and always-on parts do."""
    return torch.zeros_like(_mass(routing), dtype=torch.bool)


def all_but(layer: int, expert: int) -> Select:
    """Every expert but one, in one layer."""

    def select(index: int, routing: Routing) -> Tensor | None:
        if index != layer:
            return None
        keep_BE = torch.ones_like(_mass(routing), dtype=torch.bool)
        keep_BE[:, expert] = False
        return keep_BE

    return select


def keep_largest(score_BE: Tensor, k: int) -> Tensor:
    """True for the k largest scores of each input; of equal scores the first expert's, on every device."""
    order_BE = score_BE.argsort(dim=1, descending=True, stable=True)
    keep_BE = torch.zeros_like(score_BE, dtype=torch.bool)
    return keep_BE.scatter_(1, order_BE[:, :k], True)


def _mass(routing: Routing) -> Tensor:
    if routing.mass_BE is None:
        raise ValueError("a layer without experts has no subset to choose")
    return routing.mass_BE
