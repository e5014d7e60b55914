"""A layer in which each token goes to K experts: a router scores, a gate chooses, experts work, shared ones always."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from moebench.contract import Layer, Routing
from moevariants.parts.dispatch import capacity, combine_rows, place_in_capacity, plan_dispatch, take_rows
from moevariants.parts.experts import Experts
from moevariants.parts.gates import Gate, Gated

RULES = ("renormalise", "mask_logits")


class Bank(Protocol):
    """Experts as this layer needs them; :class:`moevariants.parts.experts.Experts` is one."""

    num_experts: int

    def forward_rows(self, rows_ND: Tensor, counts_E: Tensor, most: int | None = None) -> Tensor:
        """rows_NO of rows sorted by expert."""

    def axes(self, prefix: str) -> dict[str, int]:
        """Parameter name -> expert axis."""

    def held(self, name: str) -> range:
        """The experts that lie along the axis of a parameter."""


@dataclass(frozen=True)
class Places:
    """Room for tokens. factor: of an expert's min(T, ceil(T K factor / E)) places in one input; None: no limit.

    by_priority: places go to tokens of largest priority first (Riquelme et al., arXiv 2106.05974), not in token order.
    """

    factor: float | None = None
    by_priority: bool = False


class _State(NamedTuple):
    """Whether every choice is sure to be kept, and which tokens are no padding (None: all)."""

    all_kept: bool
    token_mask_BT: Tensor | None


class SparseLayer(Layer):
    """y_BTO = sum over a token's kept choices of weight_BTK f_e(x), plus what shared experts give, if there are any.

    router: x_BTD -> logits_BTE. shared: a bank of one expert for all tokens, which no mask reaches.
    """

    rules: tuple[str, ...] = RULES

    def __init__(
        self, router: nn.Module, gate: Gate, experts: Experts | Bank, places: Places, shared: Experts | None = None
    ) -> None:
        super().__init__()
        self.num_experts, self.experts_per_token = experts.num_experts, gate.top_k
        self.router, self.gate, self.places = router, gate, places
        self.experts, self.shared = experts, shared

    def route(self, x_BTD: Tensor, token_mask_BT: Tensor | None = None) -> Routing:
        """Choices, weights, places and, in training, the losses with a weight; the mass has no gradient."""
        gated: Gated = self.gate(self.router(x_BTD), token_mask_BT)
        state = _State(self.places.factor is None and token_mask_BT is None, token_mask_BT)
        return self._routing(gated, self._kept(gated, token_mask_BT), state)

    def compute(self, x_BTD: Tensor, routing: Routing, keep_BE: Tensor | None = None) -> Tensor:
        """Send each kept choice of a kept expert to its expert and add up what comes back."""
        chosen_BTK, weight_BTK, kept_BTK = _choices(routing)
        if keep_BE is not None:
            kept_BTK = kept_BTK & _is_kept(keep_BE, chosen_BTK)
        state: _State = routing.state
        kept_NK = None if state.all_kept and keep_BE is None else kept_BTK.flatten(0, 1)
        # A mask is there to save work, which is worth waiting for a GPU.
        cut = None if keep_BE is None else True
        dispatch = plan_dispatch(chosen_BTK.flatten(0, 1), self.num_experts, kept_NK, cut=cut)
        x_ND = x_BTD.flatten(0, 1)
        rows_MO = self.experts.forward_rows(take_rows(x_ND, dispatch), dispatch.counts_E, self._most(x_BTD))
        y_NO = combine_rows(rows_MO, weight_BTK.flatten(0, 1), dispatch)
        if self.shared is not None:
            y_NO = y_NO + self.shared.forward_slots(x_ND.unsqueeze(0)).squeeze(0)
        return y_NO.view(*x_BTD.shape[:2], -1)

    def restrict(self, x_BTD: Tensor, routing: Routing, keep_BE: Tensor, rule: str) -> Routing:
        """The routing among the kept experts.

        ``renormalise``: choices stay; of each token those of kept experts that found room share a weight of 1 in
        their old proportions. ``mask_logits``: the gate chooses anew among the kept experts, without noise, so that a
        token has K of them, or all where there are fewer. The two differ wherever a token chose an expert that is not
        kept.
        """
        if rule not in self.rules:
            return super().restrict(x_BTD, routing, keep_BE, rule)
        state: _State = routing.state._replace(all_kept=False)
        if rule == "mask_logits":
            gated = self.gate.among(self.router(x_BTD), keep_BE)
            # Where fewer than K are kept, a token's last choices are of experts that are not.
            kept_BTK = self._kept(gated, state.token_mask_BT) & _is_kept(keep_BE, gated.chosen_BTK)
            gated = gated._replace(weight_BTK=gated.weight_BTK * kept_BTK, losses=routing.losses)
            return self._routing(gated, kept_BTK, state)
        chosen_BTK, weight_BTK, kept_BTK = _choices(routing)
        kept_BTK = kept_BTK & _is_kept(keep_BE, chosen_BTK)
        weight_BTK = weight_BTK * kept_BTK
        total_BT1 = weight_BTK.sum(-1, keepdim=True)
        weight_BTK = weight_BTK / total_BT1.where(total_BT1 > 0, 1.0)
        gated = Gated(chosen_BTK, weight_BTK, weight_BTK.detach().amax(-1), routing.losses)
        return self._routing(gated, kept_BTK, state)

    def nominal_routing(self, x_BTD: Tensor) -> Routing:
        """The router at work, but choices dealt out in turn: an even load, drops only where capacity asks."""
        routing = self.route(x_BTD)
        (num_inputs, num_tokens), top_k = x_BTD.shape[:2], self.gate.top_k
        turn_TK = torch.arange(num_tokens * top_k, device=x_BTD.device).view(num_tokens, top_k)
        chosen_BTK = (turn_TK % self.num_experts).repeat(num_inputs, 1, 1)
        weight_BTK = x_BTD.new_full(chosen_BTK.shape, 1 / top_k)
        gated = Gated(chosen_BTK, weight_BTK, weight_BTK.amax(-1), routing.losses)
        return self._routing(gated, self._kept(gated, None), routing.state)

    def after_step(self) -> None:
        """The gate's, which may balance itself."""
        self.gate.after_step()

    def expert_parameters(self) -> Mapping[str, int]:
        """The experts' stacks; neither the columns of the router nor shared experts are theirs."""
        return self.experts.axes("experts")

    def experts_held(self, name: str) -> range:
        """As the bank says."""
        return self.experts.held(name)

    def _most(self, x_BTD: Tensor) -> int | None:
        """The most rows that one expert can have, where a capacity says so."""
        if self.places.factor is None:
            return None
        num_inputs, num_tokens = x_BTD.shape[:2]
        return num_inputs * capacity(num_tokens, self.gate.top_k, self.num_experts, self.places.factor)

    def _kept(self, gated: Gated, token_mask_BT: Tensor | None) -> Tensor:
        """kept_BTK: whether each choice finds a place; padding takes none."""
        if self.places.factor is not None:
            priority_BT = gated.priority_BT if self.places.by_priority else None
            return place_in_capacity(
                gated.chosen_BTK,
                self.num_experts,
                self.places.factor,
                priority_BT=priority_BT,
                token_mask_BT=token_mask_BT,
            )
        kept_BTK = torch.ones_like(gated.chosen_BTK, dtype=torch.bool)
        return kept_BTK if token_mask_BT is None else kept_BTK & token_mask_BT.unsqueeze(-1)

    def _routing(self, gated: Gated, kept_BTK: Tensor, state: _State) -> Routing:
        """Add up the mass, without duplicate writes."""
        given_BTK = gated.weight_BTK.detach() * kept_BTK
        gate_BTE = given_BTK.new_zeros(*given_BTK.shape[:2], self.num_experts)
        mass_BE = gate_BTE.scatter_(-1, gated.chosen_BTK, given_BTK).sum(1)
        return Routing(mass_BE, gated.losses, gated.chosen_BTK, gated.weight_BTK, kept_BTK, state)


def _choices(routing: Routing) -> tuple[Tensor, Tensor, Tensor]:
    """chosen_BTK, weight_BTK and kept_BTK of a sparse routing, which has all three."""
    assert routing.chosen_BTK is not None
    assert routing.weight_BTK is not None
    assert routing.kept_BTK is not None
    return routing.chosen_BTK, routing.weight_BTK, routing.kept_BTK


def _is_kept(keep_BE: Tensor, chosen_BTK: Tensor) -> Tensor:
    """Whether each choice is of an expert that acts."""
    return keep_BE.unsqueeze(1).expand(-1, chosen_BTK.shape[1], -1).gather(2, chosen_BTK)
