"""Soft MoE: every expert works on weighted means of all tokens."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from moebench.contract import Context, Layer, LayerShape, Restricts, Routing, Variant
from moevariants.parts.experts import Experts
from moevariants.parts.mixing import SoftWeights, all_slots, mix_all, mix_kept
from moevariants.parts.routers import SoftRouter, l2_normalise, shared_out, soft_weights
from moevariants.parts.settings import switch, whole, wrong


class SoftMoE(Variant):
    """Soft MoE (Puigcerver et al., arXiv 2308.00951, equations 1 to 3), by default as in arXiv 2409.00879.

    logits_BTS = x_BTD phi_DS with S = E P slots; dispatch_BTS = softmax over T, combine_BTS = softmax over S;
    slots_BSD = dispatch^T x, weighted means of the **raw** tokens; y_BTO = combine f_e(slots), e the slot's
    expert.

    Settings: ``experts`` E; ``slots`` P per expert; ``normalise``, whether the router (and it alone) sees
    l2norm(x) and scale l2norm(phi); ``slots_from_normalised_tokens``, whether the slots then mix l2norm(x)
    too, which is the layer of a widespread port, not of the paper. Size is the hidden width of one expert.

    Mass: the combine weights of an expert's slots summed over tokens, T in all. Every slot sees every token:
    not causal. With E = P = 1 every token gets f(the mean that the one slot makes).
    """

    name = "soft_moe"
    revision = "16e66129aeb6d7086e0a"
    paper = "https://arxiv.org/abs/2308.00951"
    code = "https://github.com/google-research/vmoe"
    separable = True
    mass = "exact"
    single_expert = "pooled"
    token_equivariant = True
    tune = {"experts": (8, 16, 32, 64), "normalise": (False, True)}

    def build(
        self,
        shape: LayerShape,
        size: int,
        *,
        experts: int = 8,
        slots: int = 1,
        normalise: bool = False,
        slots_from_normalised_tokens: bool = False,
    ) -> Layer:
        """One layer of E experts of hidden width ``size``."""
        switch(self, "normalise", normalise)
        if switch(self, "slots_from_normalised_tokens", slots_from_normalised_tokens) and not normalise:
            raise wrong(self, "slots_from_normalised_tokens", True, "false where normalise is false")
        router = SoftRouter(shape.dim, whole(self, "experts", experts) * whole(self, "slots", slots), normalise)
        layer = SoftMoELayer(router, Experts(experts, shape, size), slots)
        layer.mix_normalised = slots_from_normalised_tokens
        return layer


class _State(NamedTuple):
    """What ``compute`` needs: the dispatch weights, and the tokens to mix where they are not x itself."""

    dispatch_BTS: Tensor
    tokens_BTD: Tensor | None


class SoftMoELayer(Restricts, Layer):
    """E experts with P slots each. Slot s belongs to expert s // P."""

    mix_normalised = False
    rules = ("renormalise", "mask_logits")

    def __init__(self, router: SoftRouter, experts: Experts, slots: int) -> None:
        super().__init__()
        self.slots = slots
        self.router, self.experts = router, experts

    def route(self, x_BTD: Tensor, context: Context) -> Routing:
        """Dispatch and combine weights."""
        weights = SoftWeights(*soft_weights(self.router(x_BTD), context.token_mask_BT))
        tokens_BTD = l2_normalise(x_BTD, axis=-1).to(x_BTD.dtype) if self.mix_normalised else None
        return self._routing(weights, tokens_BTD)

    def compute(self, x_BTD: Tensor, routing: Routing, keep_BE: Tensor | None = None) -> Tensor:
        """Mix, compute every slot (or mix and compute only those of kept experts), and mix back."""
        weights, tokens_BTD = self._unpack(x_BTD, routing)
        if keep_BE is None:
            return mix_all(self.experts, tokens_BTD, weights)
        return mix_kept(self.experts, tokens_BTD, weights, keep_BE)

    def restrict(self, x_BTD: Tensor, routing: Routing, keep_BE: Tensor, rule: str) -> Routing:
        """Combine weights as if only the kept experts were there; dispatch weights stay, a slot's being its own.

        ``renormalise``: combine_BTS over its sum over the subset's slots. ``mask_logits``: a softmax over the
        logits of the subset's slots. For a softmax over all slots the two are the same function, exp(l_s) over
        the sum of exp(l) in the subset; they differ only where all of the subset's weights are too small for
        their type: then ``renormalise`` leaves the token 0.
        """
        dispatch_BTS, combine_BTS = _weights(routing)
        keep_B1S = keep_BE.repeat_interleave(self.slots, dim=1).unsqueeze(1)
        if rule == "mask_logits":
            logits_BTS = self.router(x_BTD)
            lowest = torch.finfo(logits_BTS.dtype).min
            # Padding has no combine weights, and gets none.
            real_BT1 = combine_BTS.detach().any(2, keepdim=True)
            combine_BTS = logits_BTS.masked_fill(~keep_B1S, lowest).softmax(2) * (keep_B1S & real_BT1)
        else:
            combine_BTS = shared_out(combine_BTS * keep_B1S)
        return self._routing(SoftWeights(dispatch_BTS, combine_BTS), routing.state.tokens_BTD)

    def router_logits(self, x_BTD: Tensor) -> Tensor:
        """logits_BTS of the router."""
        logits_BTS: Tensor = self.router(x_BTD)
        return logits_BTS

    def dispatch_weights(self, routing: Routing) -> Tensor:
        """dispatch_BTE: the largest over the expert's slots."""
        return self._by_expert(_weights(routing).dispatch_BTS).amax(3)

    @torch.no_grad()
    def contribution_norms(self, x_BTD: Tensor, routing: Routing) -> Tensor:
        """norm_BE from one pass: of an expert with one slot, mass times the norm of what the slot gave.

        With more, the norm of a token's weighted sum of them, by their inner products in float64.
        """
        weights, tokens_BTD = self._unpack(x_BTD, routing)
        out_BSO = all_slots(self.experts, tokens_BTD, weights)
        if self.slots == 1:
            assert routing.mass_BE is not None
            norm_BE: Tensor = torch.linalg.vector_norm(out_BSO, dim=2)
            return routing.mass_BE * norm_BE
        out_BEPO = out_BSO.double().view(len(out_BSO), self.num_experts, self.slots, -1)
        combine_BETP = self._by_expert(weights.combine_BTS.double()).transpose(1, 2)
        squares_BET: Tensor = ((combine_BETP @ (out_BEPO @ out_BEPO.mT)) * combine_BETP).sum(3)
        return squares_BET.clamp(min=0).sqrt().sum(2).to(out_BSO.dtype)

    def _routing(self, weights: SoftWeights, tokens_BTD: Tensor | None) -> Routing:
        state = _State(weights.dispatch_BTS, tokens_BTD)
        return Routing.soft(weights.combine_BTS, experts=self.num_experts, state=state)

    def _by_expert(self, weight_BTS: Tensor) -> Tensor:
        """weight_BTEP."""
        return weight_BTS.view(*weight_BTS.shape[:2], self.num_experts, self.slots)

    def _unpack(self, x_BTD: Tensor, routing: Routing) -> tuple[SoftWeights, Tensor]:
        state: _State = routing.state
        return _weights(routing), x_BTD if state.tokens_BTD is None else state.tokens_BTD


def _weights(routing: Routing) -> SoftWeights:
    state: _State = routing.state
    assert routing.combine_BTS is not None
    return SoftWeights(state.dispatch_BTS, routing.combine_BTS)
