"""Masks for checks, and what a layer gives under them."""

from __future__ import annotations

import torch
from torch import Tensor

from moebench.checks.outcome import NotApplicable
from moebench.checks.subject import CheckSubject
from moebench.contract import Context, Layer


def experts_to_mask(subject: CheckSubject, layer: Layer, *, separable: bool = False) -> int:
    """The number of experts; not applicable where there is nothing to mask or its meaning is not claimed."""
    if layer.num_experts < 2:
        raise NotApplicable("it has no experts to mask.")
    if separable and not subject.variant.separable:
        raise NotApplicable("it does not claim that its experts are separable.")
    return layer.num_experts


def keep(inputs: int, experts: int, kept: list[int] | None = None, all_but: list[int] | None = None) -> Tensor:
    """keep_BE with only ``kept``, or all but some, True for every input; by default a random half for each."""
    if all_but is not None:
        return ~keep(inputs, experts, all_but)
    if kept is None:
        return torch.rand(inputs, experts, generator=torch.Generator().manual_seed(1)) < 0.5
    keep_BE = torch.zeros(inputs, experts, dtype=torch.bool)
    keep_BE[:, kept] = True
    return keep_BE


@torch.no_grad()
def masked(layer: Layer, x_BTD: Tensor, keep_BE: Tensor | None) -> Tensor:
    """The output with only the experts of ``keep_BE``, without a gradient."""
    return layer.compute(x_BTD, layer.route(x_BTD, Context()), keep_BE)
