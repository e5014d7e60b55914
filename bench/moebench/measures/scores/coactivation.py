"""Whether certain experts are chosen together."""

from __future__ import annotations

import torch
from torch import Tensor

from moebench.measures.scores.information import PERMUTATIONS, entropy

STEPS = 200
"""Of the fit; it settles to seven digits in far fewer unless one expert is in nearly every pair."""


def co_activation(count_ME: Tensor) -> float | None:
    """How far the experts of a token come in fixed pairs: 0 where a token's experts are independent at their loads,
    about 1 where each expert has one partner. None where no two experts are chosen by one token.

    count_ME: choices of M tokens. With pair_EE the distribution of ordered pairs of different experts chosen by one
    token (the co-activation counts of OLMoE, arXiv 2409.02060), it is the divergence of pair_EE from
    quasi-independence, q_ij proportional to a_i a_j for i != j with the same margins (Goodman 1968), over the entropy
    of the margins, less its mean over 20 fixed draws of as many pairs from q.
    """
    acts_ME = (count_ME > 0).double()
    pair_EE = (acts_ME.T @ acts_ME).fill_diagonal_(0)
    pairs = int(pair_EE.sum()) // 2
    if not pairs:
        return None
    pair_EE = pair_EE / pair_EE.sum()
    independent_EE = _independent(pair_EE.sum(1))
    i, j = torch.triu_indices(len(pair_EE), len(pair_EE), offset=1)
    generator = torch.Generator().manual_seed(0)
    by_chance = 0.0
    for _ in range(PERMUTATIONS):
        drawn = torch.multinomial(independent_EE[i, j], pairs, replacement=True, generator=generator)
        drawn_EE = torch.zeros_like(pair_EE)
        drawn_EE[i, j] = torch.bincount(drawn, minlength=len(i)).double() / (2 * pairs)
        by_chance += _divergence(drawn_EE + drawn_EE.T) / PERMUTATIONS
    spread = entropy(pair_EE.sum(1))
    return (_divergence(pair_EE) - by_chance) / spread


def _divergence(pair_EE: Tensor) -> float:
    """Nats between pairs and quasi-independent pairs of the same margins."""
    independent_EE = _independent(pair_EE.sum(1))
    seen = pair_EE > 0
    return float((pair_EE[seen] * (pair_EE[seen] / independent_EE[seen]).log()).sum())


def _independent(margin_E: Tensor) -> Tensor:
    """q_ij = a_i a_j off the diagonal, by damped proportional fitting of the margins."""
    a_E = margin_E.clone()
    for _ in range(STEPS):
        a_E = (a_E * margin_E / (a_E.sum() - a_E).clamp_min(1e-300)).sqrt()
    q_EE = torch.outer(a_E, a_E).fill_diagonal_(0)
    return q_EE / q_EE.sum()
