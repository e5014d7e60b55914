"""Sparse top-k token choice: each token goes to the K experts that its router scores highest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from moebench.contract import Choice, Layer, LayerShape, Routing, Settings, Space, Traits, Uniform
from moevariants.parts.dispatch import combine_rows, place_in_capacity, plan_dispatch, take_rows
from moevariants.parts.experts import Experts
from moevariants.parts.losses import balance_loss, importance_loss, load_loss, z_loss
from moevariants.parts.routers import LinearRouter, choose_top_k, gate_weights, softmax_over_experts
from moevariants.parts.settings import Given, fitting

if TYPE_CHECKING:
    from moebench.budgets import Budget

RULES = ("renormalise", "mask_logits")
LOSSES = ("balance", "importance", "load", "z")


@dataclass(frozen=True, kw_only=True)
class Gating:
    """How tokens choose; see :class:`SparseTopK` for the meaning. ``losses`` names those with a weight."""

    top_k: int
    capacity: float | None
    renormalise: bool
    batch_priority: bool
    noise_std: float
    losses: tuple[str, ...]


class SparseTopK:
    """Top-K token choice (Shazeer et al., arXiv 1701.06538; V-MoE: Riquelme et al., arXiv 2106.05974).

    logits_BTE = x_BTD W_DE (+ N(0, 1) noise_std / E in training); p_BTE = softmax over E; weight_BTK = the K
    largest p, divided by their sum if ``renormalise``; y_BTO = sum over the K choices of weight f_e(x).

    Settings: ``experts`` E; ``top_k`` K (2, or 1 with one expert); ``capacity``, the factor c of the min(T,
    ceil(T K c / E)) places an expert has in one input, or None for as many as are asked for; ``renormalise``
    (true unless K = 1, where it would leave the router without a gradient); ``batch_priority``, whether
    places go to tokens of largest p first instead of in token order; ``noise_std``; the weights
    ``loss/balance``, ``loss/importance``, ``loss/load`` (needs noise) and ``loss/z``, of losses computed in
    training where they have a weight. A dropped choice gives 0, and the others keep their weights. Size is
    the hidden width of one expert.

    Traits hold for all that ``space`` offers; a capacity would make a token depend on those it competes with.
    Mass: the weights of kept choices, T at most. With E = 1 the only weight is 1: the plain MLP.
    """

    name = "sparse_topk"
    traits = Traits(
        causal=True,
        experts="separable",
        mass="at_most",
        single_expert="dense",
        token_equivariant=True,
        rules=RULES,
    )
    default_balance = 0.01
    """The weight of the balance loss where none is given."""

    def space(self, shape: LayerShape, budget: Budget) -> Space:
        """Tunes the number of experts and the weight of the balance loss; the rest is for suites to open."""
        return Space(
            {
                "experts": fitting(self, budget, "experts", (8, 16, 32, 64)),
                "top_k": Choice((2,)),
                "capacity": Choice((None,)),
                "renormalise": Choice((True,)),
                "batch_priority": Choice((False,)),
                "noise_std": Choice((0.0,)),
                "loss/balance": Uniform(1e-3, 1e-1, 1e-2, log=True),
                "loss/importance": Choice((0.0,)),
                "loss/load": Choice((0.0,)),
                "loss/z": Choice((0.0,)),
            }
        )

    def build(self, shape: LayerShape, size: int, settings: Settings) -> SparseTopKLayer:
        """One layer of E experts of hidden width ``size``."""
        names = ("experts", "top_k", "capacity", "renormalise", "batch_priority", "noise_std")
        given = Given(self.name, (*names, *(f"loss/{name}" for name in LOSSES)), settings)
        experts = given.whole("experts", 8)
        return SparseTopKLayer(shape, experts, size, self._gating(given, experts))

    def _gating(self, given: Given, experts: int) -> Gating:
        top_k = given.whole("top_k", min(2, experts), experts, " (the number of experts)")
        renormalise = given.switch("renormalise", top_k > 1)
        if renormalise and top_k == 1:
            raise given.wrong("renormalise", "false where top_k is 1, or the router gets no gradient")
        factor = None if given.settings.get("capacity") is None else given.number("capacity", 0.0)
        if factor == 0:
            raise given.wrong("capacity", "a factor above 0, or None for no limit")
        noise_std = given.number("noise_std", 0.0)
        defaults = {"balance": self.default_balance}
        losses = tuple(name for name in LOSSES if given.number(f"loss/{name}", defaults.get(name, 0.0)))
        if "load" in losses and not noise_std:
            raise given.wrong("loss/load", "0 where noise_std is 0, because it is undefined without noise")
        return Gating(
            top_k=top_k,
            capacity=factor,
            renormalise=renormalise,
            batch_priority=given.switch("batch_priority", False),
            noise_std=noise_std,
            losses=losses,
        )


class _State(NamedTuple):
    """Whether every choice is sure to be kept, and which tokens are no padding (None: all)."""

    all_kept: bool
    token_mask_BT: Tensor | None


class SparseTopKLayer(Layer):
    """Router, choice, capacity, experts."""

    rules = RULES

    def __init__(self, shape: LayerShape, num_experts: int, hidden: int, gating: Gating) -> None:
        super().__init__()
        self.num_experts, self.experts_per_token, self.gating = num_experts, gating.top_k, gating
        self.router = LinearRouter(shape.dim, num_experts)
        self.experts = Experts(num_experts, shape.dim, hidden, shape.out_dim, shape)

    def route(self, x_BTD: Tensor, token_mask_BT: Tensor | None = None) -> Routing:
        """Choices, weights, places and, in training, the losses with a weight; the mass has no gradient."""
        logits_BTE = self.router(x_BTD)
        noisy_BTE, noise = logits_BTE, self.gating.noise_std / self.num_experts
        if self.training and noise:
            noisy_BTE = logits_BTE + noise * torch.randn_like(logits_BTE)
        chosen_BTK = choose_top_k(noisy_BTE, self.gating.top_k)
        probability_BTE = softmax_over_experts(noisy_BTE)
        weight_BTK = gate_weights(probability_BTE, chosen_BTK, self.gating.renormalise)
        clean_BTE = probability_BTE if noisy_BTE is logits_BTE else softmax_over_experts(logits_BTE)
        losses = self._losses(logits_BTE, clean_BTE, noisy_BTE, chosen_BTK, token_mask_BT)
        kept_BTK = self._places(probability_BTE, chosen_BTK, token_mask_BT)
        state = _State(self.gating.capacity is None and token_mask_BT is None, token_mask_BT)
        return self._routing(chosen_BTK, weight_BTK, kept_BTK, losses, state)

    def compute(self, x_BTD: Tensor, routing: Routing, keep_BE: Tensor | None = None) -> Tensor:
        """Send each kept choice of a kept expert to its expert and add up what comes back."""
        chosen_BTK, weight_BTK, kept_BTK = _choices(routing)
        if keep_BE is not None:
            kept_BTK = kept_BTK & _is_kept(keep_BE, chosen_BTK)
        state: _State = routing.state
        kept_NK = None if state.all_kept and keep_BE is None else kept_BTK.flatten(0, 1)
        dispatch = plan_dispatch(chosen_BTK.flatten(0, 1), self.num_experts, kept_NK)
        rows_MD = take_rows(x_BTD.flatten(0, 1), dispatch)
        rows_MO = self.experts.forward_rows(rows_MD, dispatch.counts_E)
        return combine_rows(rows_MO, weight_BTK.flatten(0, 1), dispatch).view(*x_BTD.shape[:2], -1)

    def restrict(self, x_BTD: Tensor, routing: Routing, keep_BE: Tensor, rule: str) -> Routing:
        """The routing among the kept experts.

        ``renormalise``: choices stay; of each token those of kept experts that found room share a weight of 1 in
        their old proportions. ``mask_logits``: softmax, choice, gates and places anew with the kept experts' clean
        logits alone, so that a token chooses K of them, or all where there are fewer. The two differ wherever a
        token chose an expert that is not kept.
        """
        if rule not in self.rules:
            return super().restrict(x_BTD, routing, keep_BE, rule)
        state = routing.state._replace(all_kept=False)
        if rule == "mask_logits":
            logits_BTE = self.router(x_BTD)
            logits_BTE = logits_BTE.masked_fill(~keep_BE.unsqueeze(1), torch.finfo(logits_BTE.dtype).min)
            chosen_BTK, probability_BTE = choose_top_k(logits_BTE, self.gating.top_k), softmax_over_experts(logits_BTE)
            weight_BTK = gate_weights(probability_BTE, chosen_BTK, self.gating.renormalise)
            places_BTK = self._places(probability_BTE, chosen_BTK, state.token_mask_BT)
            # Where fewer than K are kept, a token's last choices are of experts that are not.
            kept_BTK = places_BTK & _is_kept(keep_BE, chosen_BTK)
            return self._routing(chosen_BTK, weight_BTK * kept_BTK, kept_BTK, routing.losses, state)
        chosen_BTK, weight_BTK, kept_BTK = _choices(routing)
        kept_BTK = kept_BTK & _is_kept(keep_BE, chosen_BTK)
        weight_BTK = weight_BTK * kept_BTK
        total_BT1 = weight_BTK.sum(-1, keepdim=True)
        weight_BTK = weight_BTK / total_BT1.where(total_BT1 > 0, 1.0)
        return self._routing(chosen_BTK, weight_BTK, kept_BTK, routing.losses, state)

    def nominal_routing(self, x_BTD: Tensor) -> Routing:
        """The router at work, but choices dealt out in turn: an even load, drops only where capacity asks."""
        routing = self.route(x_BTD)
        (num_inputs, num_tokens), top_k = x_BTD.shape[:2], self.gating.top_k
        turn_TK = torch.arange(num_tokens * top_k, device=x_BTD.device).view(num_tokens, top_k)
        chosen_BTK = (turn_TK % self.num_experts).repeat(num_inputs, 1, 1)
        weight_BTK = x_BTD.new_full(chosen_BTK.shape, 1 / top_k)
        kept_BTK = self._places(weight_BTK, chosen_BTK, None)
        return self._routing(chosen_BTK, weight_BTK, kept_BTK, routing.losses, routing.state)

    def expert_parameters(self) -> Mapping[str, int]:
        """The experts' stacks; the columns of the router are not theirs."""
        return self.experts.axes("experts")

    def _places(self, probability_BTE: Tensor, chosen_BTK: Tensor, token_mask_BT: Tensor | None) -> Tensor:
        """kept_BTK: whether each choice finds a place; padding takes none."""
        factor, kept_BTK = self.gating.capacity, torch.ones_like(chosen_BTK, dtype=torch.bool)
        if factor is not None:
            priority_BT = probability_BTE.detach().amax(-1) if self.gating.batch_priority else None
            return place_in_capacity(
                chosen_BTK, self.num_experts, factor, priority_BT=priority_BT, token_mask_BT=token_mask_BT
            )
        return kept_BTK if token_mask_BT is None else kept_BTK & token_mask_BT.unsqueeze(-1)

    def _routing(
        self,
        chosen_BTK: Tensor,
        weight_BTK: Tensor,
        kept_BTK: Tensor,
        losses: Mapping[str, Tensor],
        state: _State,
    ) -> Routing:
        """Add up the mass, without duplicate writes."""
        given_BTK = weight_BTK.detach() * kept_BTK
        gate_BTE = given_BTK.new_zeros(*chosen_BTK.shape[:2], self.num_experts)
        mass_BE = gate_BTE.scatter_(-1, chosen_BTK, given_BTK).sum(1)
        return Routing(mass_BE, losses, chosen_BTK, weight_BTK, kept_BTK, state)

    def _losses(
        self,
        logits_BTE: Tensor,
        clean_BTE: Tensor,
        noisy_BTE: Tensor,
        chosen_BTK: Tensor,
        token_mask_BT: Tensor | None,
    ) -> dict[str, Tensor]:
        """In training, the losses that have a weight; probabilities are those without noise."""
        wanted, noise = self.gating.losses if self.training else (), self.gating.noise_std / self.num_experts
        losses = {
            "balance": lambda: balance_loss(clean_BTE, chosen_BTK, token_mask_BT),
            "importance": lambda: importance_loss(clean_BTE, token_mask_BT),
            "load": lambda: load_loss(logits_BTE, noisy_BTE, chosen_BTK, noise, token_mask_BT),
            "z": lambda: z_loss(logits_BTE, token_mask_BT),
        }
        return {name: losses[name]() for name in wanted}


def _choices(routing: Routing) -> tuple[Tensor, Tensor, Tensor]:
    """chosen_BTK, weight_BTK and kept_BTK of a sparse routing, which has all three."""
    assert routing.chosen_BTK is not None
    assert routing.weight_BTK is not None
    assert routing.kept_BTK is not None
    return routing.chosen_BTK, routing.weight_BTK, routing.kept_BTK


def _is_kept(keep_BE: Tensor, chosen_BTK: Tensor) -> Tensor:
    """Whether each choice is of an expert that acts."""
    return keep_BE.unsqueeze(1).expand(-1, chosen_BTK.shape[1], -1).gather(2, chosen_BTK)
