"""Soft MoE: every expert works on weighted means of all tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from moebench.contract import Choice, Layer, LayerShape, Routing, Settings, Space, Traits
from moevariants.parts.experts import Experts
from moevariants.parts.routers import SoftRouter, l2_normalise, soft_weights
from moevariants.parts.settings import Given, fitting

if TYPE_CHECKING:
    from moebench.budgets import Budget


class SoftMoE:
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
    traits = Traits(experts="separable", mass="exact", single_expert="pooled", token_equivariant=True)

    def space(self, shape: LayerShape, budget: Budget) -> Space:
        """Tunes the number of experts and the router's normalisation; a suite may offer more slots."""
        return Space(
            {
                "experts": fitting(self, budget, "experts", (8, 16, 32, 64)),
                "slots": Choice((1,)),
                "normalise": Choice((False, True)),
                "slots_from_normalised_tokens": Choice((False,)),
            }
        )

    def build(self, shape: LayerShape, size: int, settings: Settings) -> Layer:
        """One layer of E experts of hidden width ``size``."""
        given = Given(self.name, ("experts", "slots", "normalise", "slots_from_normalised_tokens"), settings)
        normalise = given.switch("normalise", False)
        mix_normalised = given.switch("slots_from_normalised_tokens", False)
        if mix_normalised and not normalise:
            raise given.wrong("slots_from_normalised_tokens", "false where normalise is false")
        layer = SoftMoELayer(shape, given.whole("experts", 8), size, given.whole("slots", 1), normalise)
        layer.mix_normalised = mix_normalised
        return layer


class _Weights(NamedTuple):
    """What ``compute`` needs: both weights, and the tokens to mix where they are not x itself."""

    dispatch_BTS: Tensor
    combine_BTS: Tensor
    tokens_BTD: Tensor | None


class SoftMoELayer(Layer):
    """E experts with P slots each. Slot s belongs to expert s // P."""

    mix_normalised = False

    def __init__(self, shape: LayerShape, num_experts: int, hidden: int, slots: int, normalise: bool) -> None:
        super().__init__()
        self.num_experts, self.slots = num_experts, slots
        self.router = SoftRouter(shape.dim, num_experts * slots, normalise)
        self.experts = Experts(num_experts, shape.dim, hidden, shape.out_dim, shape)

    def route(self, x_BTD: Tensor, token_mask_BT: Tensor | None = None) -> Routing:
        """Dispatch and combine weights; the mass has no gradient."""
        dispatch_BTS, combine_BTS = soft_weights(self.router(x_BTD), token_mask_BT)
        mass_BS = combine_BTS.detach().sum(1)
        mass_BE = mass_BS.view(-1, self.num_experts, self.slots).sum(2) if self.slots > 1 else mass_BS
        tokens_BTD = l2_normalise(x_BTD, axis=-1).to(x_BTD.dtype) if self.mix_normalised else None
        return Routing(mass_BE=mass_BE, state=_Weights(dispatch_BTS, combine_BTS, tokens_BTD))

    def compute(self, x_BTD: Tensor, routing: Routing, keep_BE: Tensor | None = None) -> Tensor:
        """Mix, compute every slot (or only those of kept experts), and mix back."""
        weights: _Weights = routing.state
        tokens_BTD = x_BTD if weights.tokens_BTD is None else weights.tokens_BTD
        slots_BSD = weights.dispatch_BTS.mT.to(tokens_BTD.dtype) @ tokens_BTD
        slots_BEPD = slots_BSD.view(len(slots_BSD), self.num_experts, self.slots, -1)
        out_BEPO = self._all(slots_BEPD) if keep_BE is None else self._kept(slots_BEPD, keep_BE)
        y_BTO: Tensor = weights.combine_BTS.to(out_BEPO.dtype) @ out_BEPO.flatten(1, 2)
        return y_BTO

    def _all(self, slots_BEPD: Tensor) -> Tensor:
        slots_END = slots_BEPD.transpose(0, 1).flatten(1, 2)
        out_ENO = self.experts.forward_slots(slots_END)
        return out_ENO.view(self.num_experts, len(slots_BEPD), self.slots, -1).transpose(0, 1)

    def _kept(self, slots_BEPD: Tensor, keep_BE: Tensor) -> Tensor:
        """Work for the kept (expert, input) pairs alone; zeros elsewhere."""
        expert_M, input_M = keep_BE.t().nonzero(as_tuple=True)
        rows_ND = slots_BEPD[input_M, expert_M].flatten(0, 1)
        rows_NO = self.experts.forward_rows(rows_ND, keep_BE.sum(0) * self.slots)
        out_BEPO = rows_NO.new_zeros(*slots_BEPD.shape[:3], rows_NO.shape[-1])
        return out_BEPO.index_put((input_M, expert_M), rows_NO.view(len(input_M), self.slots, rows_NO.shape[1]))

    def expert_parameters(self) -> Mapping[str, int]:
        """The experts' stacks; the columns of phi belong to the router."""
        return self.experts.axes("experts")
