"""The upper bound of routing: the group that a task hides decides the experts of a token. Never ranked."""

from __future__ import annotations

from moebench.contract import LayerShape, Variant
from moevariants.parts.experts import Experts
from moevariants.parts.hashed import HashedLayer, TableRouter, by_group, experts_and_k


class OracleRouter(Variant):
    """The task says to which of its groups a token belongs, and a table sends each group to K experts.

    Groups below E go to different ones; later ones begin again.

    y_BTO = mean over K of f_{h_k(group)}(x). What a router could learn at best where the groups are what matters. It
    reads what no layer may read, so that it is a reference row and never ranked.

    Settings: ``experts`` E; ``top_k`` K, by default 1: an expert a group where there are as many. Size is the hidden
    width of one expert.
    """

    name = "oracle_router"
    revision = "oracle_router_1"
    causal = True
    separable = True
    mass = "exact"
    single_expert = "dense"
    reads_groups = True
    tune = {"experts": (8, 16, 32, 64), "top_k": (1,)}

    def build(self, shape: LayerShape, size: int, *, experts: int = 8, top_k: int = 1) -> HashedLayer:
        """One layer of E experts of hidden width ``size``."""
        experts, top_k = experts_and_k(self, experts, top_k)
        bank = Experts(experts, shape, size)
        return HashedLayer(TableRouter(experts, experts, top_k), top_k, bank, by_group)
