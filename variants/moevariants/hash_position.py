"""The reference row without any routing: the place of a token in its input decides its experts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moebench.contract import LayerShape, Variant
from moevariants.parts.experts import Experts
from moevariants.parts.gates import SoftmaxGate
from moevariants.parts.settings import whole
from moevariants.parts.sparse import Places, SparseLayer

LONGEST = 4096
"""Positions in the table where the host fixes no number of tokens; later ones begin again."""


class HashPosition(Variant):
    """A hash of its position decides where a token goes (Roller et al., arXiv 2106.04426, section 3.2, of words).

    y_BTO = mean over K of f_{h_k(t)}(x_t): h_k, fixed when the layer is built, deals the experts out over shuffled
    positions, so that the load is even; a token's K experts differ. No router parameters, no gradient, no loss. A
    layer that does not beat this one gains nothing from what its router reads.

    Settings: ``experts`` E; ``top_k`` K. Size is the hidden width of one expert. Mass: K weights of 1/K a token, T in
    all, the same for every input, so that its specialization is 0. Causal; no permutation of tokens permutes outputs.
    """

    name = "hash_position"
    revision = "4358f7028f782949798d"
    causal = True
    separable = True
    mass = "exact"
    single_expert = "dense"
    tune = {"experts": (8, 16, 32, 64), "top_k": (2,)}

    def build(self, shape: LayerShape, size: int, *, experts: int = 8, top_k: int | None = None) -> SparseLayer:
        """One layer of E experts of hidden width ``size``; K is 2 by default, or 1 with one expert."""
        whole(self, "experts", experts)
        top_k = whole(self, "top_k", min(2, experts) if top_k is None else top_k, experts, " (the number of experts)")
        bank = Experts(experts, shape, size)
        router = PositionRouter(shape.tokens or LONGEST, experts, top_k)
        return HashLayer(router, SoftmaxGate(top_k, renormalise=False), bank, Places())


class HashLayer(SparseLayer):
    """A sparse layer whose choices cannot be made anew."""

    rules = ("renormalise",)


class PositionRouter(nn.Module):
    """logits_BTE: 0 for the experts of a position and -inf for all others, which a softmax makes 1/K and 0."""

    expert_PK: Tensor

    def __init__(self, positions: int, num_experts: int, top_k: int) -> None:
        super().__init__()
        self.num_experts = num_experts
        dealt_P = torch.randperm(positions) % num_experts
        # A token's other experts follow its first at fixed random distances, so that every load stays as even.
        apart_K = torch.cat([torch.zeros(1, dtype=torch.long), 1 + torch.randperm(num_experts - 1)[: top_k - 1]])
        self.register_buffer("expert_PK", (dealt_P.unsqueeze(1) + apart_K) % num_experts)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """The same for every input."""
        num_inputs, num_tokens = x_BTD.shape[:2]
        position_T = torch.arange(num_tokens, device=x_BTD.device) % len(self.expert_PK)
        wide = torch.promote_types(x_BTD.dtype, torch.float32)
        none_TE = torch.full((num_tokens, self.num_experts), -torch.inf, dtype=wide, device=x_BTD.device)
        logits_TE = none_TE.scatter(1, self.expert_PK[position_T], 0.0)
        return logits_TE.expand(num_inputs, -1, -1)
