"""PEER: very many experts of one hidden unit each, found by product keys."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from moebench.contract import LayerShape, Variant
from moevariants.parts.experts import Experts
from moevariants.parts.product_keys import ProductKeyGate, ProductKeyRouter
from moevariants.parts.settings import whole
from moevariants.parts.sparse import Places, SparseLayer


class PEER(Variant):
    """Parameter efficient expert retrieval (He, arXiv 2407.04153, section 2): E experts of one unit, E = n m.

    For each of h heads: query q = x_BTD W_DQ in two halves; the score of expert (i, j) is q_1 . key_i + q_2 . key_j;
    the k experts of largest score, weighted by a softmax over these k. y_BTO = sum over heads and their k choices of
    weight act(x . u_e) v_e. Heads share the experts and may choose the same. Experts have no biases, as published; with
    a gated activation a unit has a gate. The paper's batch norm of queries is left out, because it would make outputs
    depend on batch mates.

    Settings: ``heads`` h; ``top_k`` k, of each head; ``keys`` n, the half keys of the first half; ``width`` of a half
    query (None: D / 2). Size is m, the half keys of the second half. Mass: h T.
    """

    name = "peer"
    revision = "peer_1"
    paper = "https://arxiv.org/abs/2407.04153"
    causal = True
    separable = True
    token_equivariant = True
    tune = {"heads": (4,), "top_k": (8,), "keys": (8,)}

    def build(
        self, shape: LayerShape, size: int, *, heads: int = 4, top_k: int = 8, keys: int = 8, width: int | None = None
    ) -> SparseLayer:
        """One layer of ``keys`` x ``size`` experts."""
        pairs = whole(self, "keys", keys), size
        whole(self, "top_k", top_k, keys, " (the number of half keys)")
        half = max(1, shape.dim // 2) if width is None else whole(self, "width", width)
        router = ProductKeyRouter(shape.dim, whole(self, "heads", heads), pairs, half)
        return PEERLayer(
            router, ProductKeyGate(heads, pairs, top_k), Experts(keys * size, replace(shape, bias=False), 1), Places()
        )


class PEERLayer(SparseLayer):
    """Its scores are of half keys, so that it shows no logits, and cannot choose anew among fewer experts."""

    rules = ("renormalise",)

    def router_logits(self, x_BTD: Tensor) -> None:
        """There is none for a single expert."""
        return
