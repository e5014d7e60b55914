"""A layer in which each token goes to K experts: a router scores, a gate chooses, experts work, shared ones always."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from moebench.contract import Context, Layer, Restricts, Routing
from moevariants.parts.dispatch import capacity, place_in_capacity
from moevariants.parts.experts import Bank, Experts, choices, is_kept
from moevariants.parts.gates import Gate, Gated
from moevariants.parts.routers import shared_out


@dataclass(frozen=True)
class Places:
    """Room for tokens. factor: of an expert's min(T, ceil(T K factor / E)) places in one input; None: no limit.

    by_priority: places go to tokens of largest priority first (Riquelme et al., arXiv 2106.05974), not in token order.
    """

    factor: float | None = None
    by_priority: bool = False


class SparseLayer(Restricts, Layer):
    """y_BTO = sum over a token's kept choices of weight_BTK f_e(x), plus what shared experts give, if there are any.

    router: x_BTD -> logits_BTE. shared: a bank of one expert for all tokens, which no mask reaches. The state of its
    routing is the context.
    """

    rules: tuple[str, ...] = ("renormalise", "mask_logits")

    def __init__(
        self, router: nn.Module, gate: Gate, experts: Bank, places: Places, shared: Experts | None = None
    ) -> None:
        super().__init__()
        self.top_k = gate.top_k
        self.router, self.gate, self.places = router, gate, places
        self.experts, self.shared = experts, shared

    def route(self, x_BTD: Tensor, context: Context) -> Routing:
        """Choices, weights, places and, in training, the losses with a weight."""
        gated: Gated = self.gate(self.router(x_BTD), context.token_mask_BT)
        return self._routing(gated, self._kept(gated, context), context)

    def compute(self, x_BTD: Tensor, routing: Routing, keep_BE: Tensor | None = None) -> Tensor:
        """Send each kept choice of a kept expert to its expert and add up what comes back."""
        y_BTO: Tensor = self.experts(x_BTD, routing, keep_BE, self._most(x_BTD))
        if self.shared is None:
            return y_BTO
        return y_BTO + self.shared.on_every_token(x_BTD)

    def restrict(self, x_BTD: Tensor, routing: Routing, keep_BE: Tensor, rule: str) -> Routing:
        """The routing among the kept experts.

        ``renormalise``: choices stay; of each token those of kept experts that found room share a weight of 1 in
        their old proportions. ``mask_logits``: the gate chooses anew among the kept experts, without noise, so that a
        token has K of them, or all where there are fewer. The two differ wherever a token chose an expert that is not
        kept.
        """
        context: Context = routing.state
        if rule == "mask_logits":
            gated = self.gate.among(self.router(x_BTD), keep_BE)
            # Where fewer than K are kept, a token's last choices are of experts that are not.
            kept_BTK = _both(self._kept(gated, context), is_kept(keep_BE, gated.chosen_BTK))
            gated = gated._replace(weight_BTK=gated.weight_BTK * kept_BTK, losses=routing.losses)
            return self._routing(gated, kept_BTK, context)
        chosen_BTK, weight_BTK, found_BTK = choices(routing)
        kept_BTK = _both(found_BTK, is_kept(keep_BE, chosen_BTK))
        return replace(routing, weight_BTK=shared_out(weight_BTK * kept_BTK), kept_BTK=kept_BTK)

    def nominal_routing(self, x_BTD: Tensor) -> Routing:
        """The router at work, but choices dealt out in turn: an even load, drops only where capacity asks.

        Experts without parameters, which come last, get none."""
        losses = self.route(x_BTD, Context()).losses
        (num_inputs, num_tokens), top_k = x_BTD.shape[:2], self.gate.top_k
        turn_TK = torch.arange(num_tokens * top_k, device=x_BTD.device).view(num_tokens, top_k)
        chosen_BTK = (turn_TK % self.experts.count).repeat(num_inputs, 1, 1)
        weight_BTK = x_BTD.new_full(chosen_BTK.shape, 1 / top_k)
        gated = Gated(chosen_BTK, weight_BTK, weight_BTK.amax(-1), losses)
        return self._routing(gated, self._kept(gated, Context()), Context())

    def router_logits(self, x_BTD: Tensor) -> Tensor | None:
        """logits_BTE of the router."""
        logits_BTE: Tensor = self.router(x_BTD)
        return logits_BTE

    def experts_held(self, name: str) -> range:
        """Those that the bank has."""
        return self.experts.experts_held(name.removeprefix("experts."))

    def after_step(self) -> None:
        """The gate's, which may balance itself."""
        self.gate.after_step()

    def _most(self, x_BTD: Tensor) -> int | None:
        """The most rows that one expert can have, where a capacity limits them."""
        if self.places.factor is None:
            return None
        num_inputs, num_tokens = x_BTD.shape[:2]
        return num_inputs * capacity(num_tokens, self.gate.top_k, self.num_experts, self.places.factor)

    def _kept(self, gated: Gated, context: Context) -> Tensor | None:
        """kept_BTK: whether each choice finds a place, None where all do; padding takes none."""
        if self.places.factor is not None:
            return place_in_capacity(
                gated.chosen_BTK,
                self.num_experts,
                self.places.factor,
                priority_BT=gated.priority_BT if self.places.by_priority else None,
                token_mask_BT=context.token_mask_BT,
            )
        return context.kept(gated.chosen_BTK)

    def _routing(self, gated: Gated, kept_BTK: Tensor | None, context: Context) -> Routing:
        return Routing.sparse(
            gated.chosen_BTK,
            gated.weight_BTK,
            experts=self.num_experts,
            kept_BTK=kept_BTK,
            wanted_BTK=gated.wanted_BTK,
            losses=gated.losses,
            state=context,
        )


def _both(kept_BTK: Tensor | None, acts_BTK: Tensor) -> Tensor:
    return acts_BTK if kept_BTK is None else kept_BTK & acts_BTK
