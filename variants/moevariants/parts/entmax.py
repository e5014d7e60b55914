"""1.5-entmax: a softmax that gives most entries exactly 0."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def entmax15(logits: Tensor) -> Tensor:
    """p along the last axis, p_i = max(0, z_i / 2 - tau)^2 with tau such that the sum is 1; float32 or wider.

    Exact, by sorting (Peters et al., arXiv 1905.05702, algorithm 2).
    """
    p: Tensor = _Entmax15.apply(logits.to(torch.promote_types(logits.dtype, torch.float32)))
    return p


class _Entmax15(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        half = (logits - logits.amax(-1, keepdim=True)) / 2
        falling = half.sort(-1, descending=True).values
        # With the k largest as support, tau solves sum (z - tau)^2 = 1: a quadratic in tau.
        k = torch.arange(1, half.shape[-1] + 1, dtype=half.dtype, device=half.device)
        mean, square = falling.cumsum(-1) / k, falling.square().cumsum(-1) / k
        tau_k = mean - ((1 / k - (square - mean.square())).clamp(min=0)).sqrt()
        support = (tau_k <= falling).sum(-1, keepdim=True)
        root = (half - tau_k.gather(-1, support - 1)).clamp(min=0)
        ctx.save_for_backward(root)
        return root.square()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """dp_i = root_i (dz_i - the mean of dz weighted by root)."""
        (root,) = ctx.saved_tensors
        weighted = grad * root
        gradient: Tensor = weighted - root * (weighted.sum(-1, keepdim=True) / root.sum(-1, keepdim=True))
        return gradient
