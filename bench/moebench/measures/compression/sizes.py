"""What a model weighs, and how much of their weights its experts use."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from moebench.contract import Layer
from moebench.hosts.host import Host

MIB = 2**20


def weights_mib(model: Host) -> float:
    """Of all parameters and buffers, as they are stored."""
    return sum(each.numel() * each.element_size() for each in (*model.parameters(), *model.buffers())) / MIB


@torch.no_grad()
def stable_rank(layers: list[Layer]) -> float | None:
    """||W||_F^2 / ||W||_2^2, the mean over the matrices of all experts: 1 for one direction, the smaller side for an
    orthogonal one. None where experts have no matrices of their own, or one of them is zero or not finite.
    """
    stacks = [stack_EIJ for layer in layers for stack_EIJ in _stacks(layer)]
    if not stacks or not all(bool(stack_EIJ.isfinite().all()) for stack_EIJ in stacks):
        return None
    mean = float(torch.cat([_stable_ranks(stack_EIJ) for stack_EIJ in stacks]).mean())
    return mean if math.isfinite(mean) else None


def _stacks(layer: Layer) -> list[Tensor]:
    """stack_EIJ of each parameter that is a matrix an expert."""
    own = layer.expert_parameters()
    return [p.movedim(own[name], 0) for name, p in layer.named_parameters() if name in own and p.ndim == 3]


def _stable_ranks(stack_EIJ: Tensor) -> Tensor:
    root_EM = torch.linalg.svdvals(stack_EIJ.double())
    ranks_E: Tensor = (root_EM / root_EM[:, :1]).square().sum(1)
    return ranks_E
