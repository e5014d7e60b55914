"""Retrieval among very many experts: a key for each is a pair of half keys, and the best pairs are found by halves."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moevariants.parts.gates import Gate, Gated
from moevariants.parts.routers import choose_top_k, softmax_over_experts, wide_product


class ProductKeyRouter(nn.Module):
    """score_BTq of h heads x (n + m) half keys: query_BThd of each half of a head . its keys (arXiv 1907.05242).

    ``keys`` n and m: half keys of the first and the second half. ``width`` d of a half query.
    """

    def __init__(self, dim: int, heads: int, keys: tuple[int, int], width: int) -> None:
        super().__init__()
        self.query_D2hd = nn.Parameter(torch.empty(dim, 2, heads, width))
        self.first_hnd = nn.Parameter(torch.empty(heads, keys[0], width))
        self.second_hmd = nn.Parameter(torch.empty(heads, keys[1], width))
        nn.init.uniform_(self.query_D2hd, -(dim**-0.5), dim**-0.5)
        for half in (self.first_hnd, self.second_hmd):
            nn.init.uniform_(half, -(width**-0.5), width**-0.5)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """The scores; float32 or wider."""
        query_BT2hd = wide_product(x_BTD, self.query_D2hd.flatten(1)).view(*x_BTD.shape[:2], *self.query_D2hd.shape[1:])
        halves = ((query_BT2hd[:, :, 0], self.first_hnd), (query_BT2hd[:, :, 1], self.second_hmd))
        scores = (wide_product(q_BThd.transpose(1, 2), keys.mT).transpose(1, 2) for q_BThd, keys in halves)
        return torch.cat([score_BThn.flatten(2) for score_BThn in scores], -1)


class ProductKeyGate(Gate):
    """Of each head the k pairs of largest sum, weighted by a softmax over them; expert n' m + m' has the pair n', m'.

    K = h k choices; heads may choose the same expert.
    """

    def __init__(self, heads: int, keys: tuple[int, int], per_head: int) -> None:
        super().__init__()
        self.heads, self.keys, self.per_head, self.top_k = heads, keys, per_head, heads * per_head

    def forward(self, logits_BTE: Tensor, token_mask_BT: Tensor | None = None) -> Gated:
        """The choices of all heads, from the scores of the router."""
        first, second = self.keys
        halves = torch.split(logits_BTE, [self.heads * first, self.heads * second], -1)
        # The best pairs are among the best of each half.
        kept = [_best(half.reshape(*half.shape[:2], self.heads, -1), self.per_head) for half in halves]
        (score_BThi, at_BThi), (score_BThj, at_BThj) = kept
        sum_BThij = score_BThi.unsqueeze(-1) + score_BThj.unsqueeze(-2)
        expert_BThij = at_BThi.unsqueeze(-1) * second + at_BThj.unsqueeze(-2)
        score_BThk, pair_BThk = _best(sum_BThij.flatten(-2), self.per_head)
        chosen_BTK = expert_BThij.flatten(-2).gather(-1, pair_BThk).flatten(2)
        weight_BTK = softmax_over_experts(score_BThk.flatten(0, 1)).view_as(score_BThk).flatten(2)
        return Gated(chosen_BTK, weight_BTK, weight_BTK.detach().amax(-1), {})


def _best(score: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The largest along the last axis, or all in their order, and where they are."""
    if score.shape[-1] <= most:
        return score, torch.arange(score.shape[-1], device=score.device).expand(score.shape)
    at = choose_top_k(score.detach(), most)
    return score.gather(-1, at), at
