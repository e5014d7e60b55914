"""DeepSeekMoE: many small experts, some of them shared, balanced by a bias instead of a loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moebench.contract import Choice, LayerShape, Settings, Space, Traits
from moevariants.parts.experts import Experts
from moevariants.parts.gates import SigmoidGate
from moevariants.parts.routers import LinearRouter
from moevariants.parts.settings import Given, fitting
from moevariants.parts.sparse import RULES, Places, SparseLayer

if TYPE_CHECKING:
    from moebench.budgets import Budget


class DeepSeek:
    """DeepSeekMoE (Dai et al., arXiv 2401.06066) with the gate of DeepSeek-V3 (arXiv 2412.19437, section 2.1.2).

    y_BTO = sum over S shared experts f_s(x) + sum over the K chosen of g f_e(x), with s_BTE = sigmoid(x_BTD W_DE), the
    K experts of largest s + b_E chosen, and g = s over the sum of the chosen. b is no parameter: after each optimiser
    step it goes up by ``bias_rate`` where an expert had fewer tokens than the mean, down where it had more, and is then
    centred. No auxiliary loss.

    Fine-grained means experts m times as many and as narrow: beside E experts of which a token takes K, take m E - S
    routed ones of width H/m and choose m K - S, and the active parameters stay equal.

    Settings: ``experts``, the routed E; ``shared`` S; ``top_k``, the routed K, 2 or more, because weights that sum to 1
    teach one choice nothing; ``bias_rate`` (0.001 for long training; more where steps are few). Size is the hidden
    width of one expert. Mass: the routed weights, T; shared experts have none and no mask reaches them.
    """

    name = "deepseek"
    revision = "e9f58144aca5a0fe916e"
    traits = Traits(
        causal=True,
        experts="separable",
        mass="exact",
        single_expert="none",
        single_expert_reason="its shared experts make it a wider MLP",
        token_equivariant=True,
        rules=RULES,
    )

    def space(self, shape: LayerShape, budget: Budget) -> Space:
        """Tunes the number of routed experts and the rate of the bias."""
        return Space(
            {
                "experts": fitting(self, budget, "experts", (16, 32, 64, 8)),
                "shared": Choice((1,)),
                "top_k": Choice((3,)),
                "bias_rate": Choice((1e-3, 3e-3, 1e-2), 3e-3),
            }
        )

    def build(self, shape: LayerShape, size: int, settings: Settings) -> SparseLayer:
        """One layer of E routed and S shared experts of hidden width ``size``."""
        given = Given(self.name, ("experts", "shared", "top_k", "bias_rate"), settings)
        experts, shared = given.whole("experts", 16), given.whole("shared", 1)
        top_k = given.whole("top_k", min(3, experts), experts, " (the number of routed experts)")
        if top_k == 1 < experts:
            raise given.wrong("top_k", "2 or more, because weights that sum to 1 teach one choice nothing")
        gate = SigmoidGate(experts, top_k, given.number("bias_rate", 3e-3))
        router = LinearRouter(shape.dim, experts)
        routed = Experts(experts, shape.dim, size, shape.out_dim, shape)
        # S experts that all act are one of S times the width.
        always = Experts(1, shape.dim, shared * size, shape.out_dim, shape)
        return SparseLayer(router, gate, routed, Places(), always)
