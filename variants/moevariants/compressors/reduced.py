"""A trained sparse layer with fewer experts than its router knows."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from moebench.contract import Layer, Routing
from moevariants.parts.experts import Experts
from moevariants.parts.gates import Gated
from moevariants.parts.sparse import Bank, SparseLayer, _State


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

    def route(self, x_BTD: Tensor, token_mask_BT: Tensor | None = None) -> Routing:
        """Choose as the trained layer does, among those that are open; then let the G stand for them."""
        logits_BTE = self.router(x_BTD)
        if self.open_E is None:
            gated: Gated = self.gate(logits_BTE, token_mask_BT)
            kept_BTK = self._kept(gated, token_mask_BT)
            weight_BTK, kept_BTK, chosen_BTK = _folded(self.expert_of_E[gated.chosen_BTK], gated.weight_BTK, kept_BTK)
            gated = gated._replace(chosen_BTK=chosen_BTK, weight_BTK=weight_BTK)
            return self._routing(gated, kept_BTK, _State(all_kept=False, token_mask_BT=token_mask_BT))
        gated = self.gate.among(logits_BTE, self.open_E.expand(len(x_BTD), -1))
        # Where fewer than K are open, a token's last choices are of closed ones.
        kept_BTK = self._kept(gated, token_mask_BT) & self.open_E[gated.chosen_BTK]
        gated = gated._replace(chosen_BTK=self.expert_of_E[gated.chosen_BTK], weight_BTK=gated.weight_BTK * kept_BTK)
        all_kept = token_mask_BT is None and self.num_experts >= self.gate.top_k
        return self._routing(gated, kept_BTK, _State(all_kept, token_mask_BT))

    def nominal_routing(self, x_BTD: Tensor) -> Routing:
        """Choices of the G dealt out in turn, no two of a token alike."""
        routing = super().nominal_routing(x_BTD)
        assert routing.chosen_BTK is not None
        assert routing.weight_BTK is not None
        assert routing.kept_BTK is not None
        weight_BTK, kept_BTK, chosen_BTK = _folded(routing.chosen_BTK, routing.weight_BTK, routing.kept_BTK)
        gated = Gated(chosen_BTK, weight_BTK, weight_BTK.amax(-1), routing.losses)
        return self._routing(gated, kept_BTK, routing.state)

    def _routing(self, gated: Gated, kept_BTK: Tensor, state: object) -> Routing:
        """As that of the whole layer, but a token may name an expert twice, of which one is kept."""
        given_BTK = gated.weight_BTK.detach() * kept_BTK
        none_BTG = given_BTK.new_zeros(*given_BTK.shape[:2], self.num_experts)
        mass_BG = none_BTG.scatter_add(-1, gated.chosen_BTK, given_BTK).sum(1)
        return Routing(mass_BG, gated.losses, gated.chosen_BTK, gated.weight_BTK, kept_BTK, state)


def _folded(chosen_BTK: Tensor, weight_BTK: Tensor, kept_BTK: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """weight_BTK, kept_BTK, chosen_BTK in which the first kept choice of an expert has the weights of all of them."""
    same_BTKK = (chosen_BTK.unsqueeze(-1) == chosen_BTK.unsqueeze(-2)) & kept_BTK.unsqueeze(-2)
    weight_BTK = (same_BTKK * weight_BTK.unsqueeze(-2)).sum(-1)
    kept_BTK = kept_BTK & ~same_BTKK.tril(-1).any(-1)
    return weight_BTK * kept_BTK, kept_BTK, chosen_BTK


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
    w_in_GDH, w_out_GHO = stacks[0], stacks[2]
    assert w_in_GDH is not None
    assert w_out_GHO is not None
    (number, dim, hidden), out_dim = w_in_GDH.shape, w_out_GHO.shape[2]
    with torch.random.fork_rng(devices=[]):
        bank = Experts(number, dim, hidden, out_dim, experts.shape).to(w_in_GDH)
    for own, given in zip(bank.stacks, stacks, strict=True):
        if own is not None:
            assert given is not None
            own.copy_(given)
    return bank
