"""A trained sparse layer with fewer experts than its router knows."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from moebench.contract import Context, Layer, Routing
from moevariants.parts.experts import Bank, Experts, choices
from moevariants.parts.gates import Gated
from moevariants.parts.sparse import SparseLayer


class ReducedLayer(SparseLayer):
    """G experts do the work of the E that the router of a trained layer knows; the router stays as it was.

    open_E: whether the router may choose e (None: all); expert_of_E: which of the G works for e. Merging opens all and
    lets several share one expert; pruning closes some, and each open one has its own. A token that chose two members of
    one expert takes one row through it, with both weights. Mass, masks and ``chosen_BTK`` are those of the G.
    """

    rules = ("renormalise",)

    expert_of_E: Tensor
    open_E: Tensor | None

    def __init__(self, layer: SparseLayer, experts: Bank, expert_of_E: Tensor, open_E: Tensor | None = None) -> None:
        parts = copy.deepcopy((layer.router, layer.gate, layer.shared))
        super().__init__(parts[0], parts[1], experts, layer.places, parts[2])
        self.register_buffer("expert_of_E", expert_of_E)
        self.register_buffer("open_E", open_E)
        self.train(layer.training)

    def route(self, x_BTD: Tensor, context: Context) -> Routing:
        """Choose as the trained layer does, among those that are open; then let the G stand for them."""
        logits_BTE = self.router(x_BTD)
        if self.open_E is None:
            gated: Gated = self.gate(logits_BTE, context.token_mask_BT)
            return self._folded(gated._replace(chosen_BTK=self.expert_of_E[gated.chosen_BTK]), context)
        gated = self.gate.among(logits_BTE, self.open_E.expand(len(x_BTD), -1))
        kept_BTK = self._kept(gated, context)
        if self.num_experts < self.gate.top_k:  # a token's last choices are of closed ones
            open_BTK = self.open_E[gated.chosen_BTK]
            kept_BTK = open_BTK if kept_BTK is None else kept_BTK & open_BTK
        if kept_BTK is not None:
            gated = gated._replace(weight_BTK=gated.weight_BTK * kept_BTK)
        return self._routing(gated._replace(chosen_BTK=self.expert_of_E[gated.chosen_BTK]), kept_BTK, context)

    def nominal_routing(self, x_BTD: Tensor) -> Routing:
        """Choices of the G dealt out in turn, no two of a token alike."""
        routing = super().nominal_routing(x_BTD)
        chosen_BTK, weight_BTK, _ = choices(routing)
        return self._folded(Gated(chosen_BTK, weight_BTK, weight_BTK.amax(-1), routing.losses), Context())

    def _folded(self, gated: Gated, context: Context) -> Routing:
        """The first choice of an expert that counts has the weights of all of them, so that it works once."""
        chosen_BTK, weight_BTK, kept_BTK = gated.chosen_BTK, gated.weight_BTK, self._kept(gated, context)
        if kept_BTK is None:
            kept_BTK = torch.ones_like(chosen_BTK, dtype=torch.bool)
        same_BTKK = (chosen_BTK.unsqueeze(-1) == chosen_BTK.unsqueeze(-2)) & kept_BTK.unsqueeze(-2)
        weight_BTK = (same_BTKK * weight_BTK.unsqueeze(-2)).sum(-1)
        kept_BTK = kept_BTK & ~same_BTKK.tril(-1).any(-1)
        return self._routing(gated._replace(weight_BTK=weight_BTK * kept_BTK), kept_BTK, context)


def reducible(layer: Layer) -> tuple[SparseLayer, Experts]:
    """The layer and its bank; ValueError, in one sentence, for a layer that these methods are not for."""
    if isinstance(layer, ReducedLayer):
        raise ValueError("its layers are compressed already; compress the model that was trained")
    if not isinstance(layer, SparseLayer) or layer.gate.top_k > layer.num_experts:
        raise ValueError(f"{type(layer).__name__} is not a sparse layer of moevariants.parts, in which tokens choose")
    if not isinstance(layer.experts, Experts) or layer.experts.linear:
        raise ValueError("its experts are not two-layer MLPs of one size")
    if layer.places.factor is not None:
        raise ValueError("its experts have a capacity, which is not defined for fewer of them; train it with None")
    return layer, layer.experts


@torch.no_grad()
def bank_of(experts: Experts, stacks: list[Tensor | None]) -> Experts:
    """A bank of the same kind with these stacks in place of w_in, b_in, w_out and b_out."""
    _, _, w_out_GHO, _ = stacks
    assert w_out_GHO is not None
    with torch.random.fork_rng(devices=[]):
        bank = Experts(len(w_out_GHO), experts.shape, w_out_GHO.shape[1]).to(w_out_GHO)
    for own, given in zip(bank.stacks, stacks, strict=True):
        if own is not None:
            assert given is not None
            own.copy_(given)
    return bank
