"""The reference row without any routing: the place of a token in its input decides its experts."""

from __future__ import annotations

from moebench.contract import LayerShape, Variant
from moevariants.parts.experts import Experts
from moevariants.parts.hashed import HashedLayer, TableRouter, by_place, experts_and_k

LONGEST = 4096
"""Positions in the table where the host fixes no number of tokens; later ones begin again."""


class HashPosition(Variant):
    """A hash of its position decides where a token goes (Roller et al., arXiv 2106.04426, section 3.2, of words).

    y_BTO = mean over K of f_{h_k(t)}(x_t): h_k, fixed when the layer is built, deals the experts out over shuffled
    positions, so that the load is even; a token's K experts differ. No router parameters, no gradient, no loss. A
    layer that does not beat this one gains nothing from what its router reads, in a host that knows positions.

    Settings: ``experts`` E; ``top_k`` K. Size is the hidden width of one expert. Mass: K weights of 1/K a token, T in
    all, the same for every input, so that its specialization is 0. Causal; no permutation of tokens permutes outputs.
    """

    name = "hash_position"
    revision = "4358f7028f782949798d"
    paper = "https://arxiv.org/abs/2106.04426"
    causal = True
    separable = True
    mass = "exact"
    single_expert = "dense"
    tune = {"experts": (8, 16, 32, 64), "top_k": (2,)}

    def build(self, shape: LayerShape, size: int, *, experts: int = 8, top_k: int | None = None) -> HashedLayer:
        """One layer of E experts of hidden width ``size``; K is 2 by default, or 1 with one expert."""
        experts, top_k = experts_and_k(self, experts, top_k)
        bank = Experts(experts, shape, size)
        return HashedLayer(TableRouter(shape.tokens or LONGEST, experts, top_k), top_k, bank, by_place)
