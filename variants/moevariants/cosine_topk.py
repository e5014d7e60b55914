"""Sparse top-k whose router compares directions: the cosine router of X-MoE."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from moebench.contract import LayerShape
from moevariants.parts.routers import wide_product
from moevariants.parts.settings import whole
from moevariants.parts.sparse import SparseLayer
from moevariants.sparse_topk import SparseTopK

WARMEST = 100.0
"""The largest factor that the cosines are multiplied by, as in the paper's code base; it starts at 1 / 0.07."""


class CosineTopK(SparseTopK):
    """X-MoE (Chi et al., arXiv 2204.09179, section 3.2): scores do not grow with the length of a token.

    logits_BTE = cos(x_BTD W_Dd, embedding_Ed) / temperature, with a learned temperature, in a space of d dimensions;
    then as :class:`moevariants.sparse_topk.SparseTopK`: one softmax over E, the K largest, renormalised. Settings are
    those, and ``router_dim`` d (None: half as many as experts, at least 2, as in the paper). Mass, claims and size as
    there.
    """

    name = "cosine_topk"
    revision = "26abf2ad988297cbb1fc"
    paper = "https://arxiv.org/abs/2204.09179"

    def build(self, shape: LayerShape, size: int, *, router_dim: int | None = None, **settings: Any) -> SparseLayer:
        """One layer of E experts of hidden width ``size``."""
        return super().build(shape, size, router_dim=router_dim, **settings)

    def _router(self, shape: LayerShape, experts: int, router_dim: int | None = None) -> nn.Module:
        width = max(2, experts // 2) if router_dim is None else whole(self, "router_dim", router_dim)
        return CosineRouter(shape.dim, experts, width)


class CosineRouter(nn.Module):
    """logits_BTE = exp(log_factor) cos(x_BTD W_Dd, embedding_Ed); factor at most :data:`WARMEST`."""

    def __init__(self, dim: int, num_experts: int, router_dim: int) -> None:
        super().__init__()
        self.weight_Dd = nn.Parameter(torch.empty(dim, router_dim))
        self.embedding_Ed = nn.Parameter(torch.empty(num_experts, router_dim))
        self.log_factor = nn.Parameter(torch.tensor(1 / 0.07).log())
        nn.init.uniform_(self.weight_Dd, -(dim**-0.5), dim**-0.5)
        nn.init.normal_(self.embedding_Ed, std=router_dim**-0.5)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """The logits; float32 or wider. A token, or an embedding, of length 0 has the cosine 0 with all."""
        direction_BTd = _unit(wide_product(x_BTD, self.weight_Dd))
        factor = self.log_factor.to(direction_BTd.dtype).clamp(max=math.log(WARMEST)).exp()
        return factor * wide_product(direction_BTd, _unit(self.embedding_Ed.to(direction_BTd.dtype)).mT)


def _unit(x: Tensor) -> Tensor:
    return nn.functional.normalize(x, dim=-1)
