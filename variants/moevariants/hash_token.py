"""The null of content in context: the id of a token alone decides its experts."""

from __future__ import annotations

from moebench.contract import LayerShape, Variant
from moevariants.parts.experts import Experts
from moevariants.parts.hashed import HashedByToken, TableRouter, by_token, experts_and_k

MOST_IDS = 2**18
"""Ids that differ where the host names no vocabulary."""


class HashToken(Variant):
    """A hash of its id decides where a token goes (Roller et al., arXiv 2106.04426, section 3.1: a random hash).

    y_BTO = mean over K of f_{h_k(id_t)}(x_t), with h_k fixed before training; the first layers of DeepSeek-V4 route so.
    The table is dealt out greedily (section 3.1, balanced assignment): even loads at the frequencies of training data,
    or over ids where there are none. No router parameters, no gradient, no loss. A layer that does not beat this one
    gains nothing from the context of a token. It has a place only in hosts of token ids.

    Settings: ``experts`` E; ``top_k`` K. Size is the hidden width of one expert. Mass: K weights of 1/K a token, T in
    all. Ids, not places, decide, but ids are not seen by a layer that is tried alone, which sends tokens by place.
    """

    name = "hash_token"
    revision = "hash_token_2"
    paper = "https://arxiv.org/abs/2106.04426"
    causal = True
    separable = True
    mass = "exact"
    single_expert = "dense"
    reads_ids = True
    tune = {"experts": (8, 16, 32, 64), "top_k": (2,)}

    def build(self, shape: LayerShape, size: int, *, experts: int = 8, top_k: int | None = None) -> HashedByToken:
        """One layer of E experts of hidden width ``size``; K is 2 by default, or 1 with one expert."""
        experts, top_k = experts_and_k(self, experts, top_k)
        bank = Experts(experts, shape, size)
        return HashedByToken(TableRouter(shape.vocabulary or MOST_IDS, experts, top_k), top_k, bank, by_token)
