"""DeepSeekMoE: many small experts, some of them shared, balanced by a bias instead of a loss."""

from __future__ import annotations

from moebench.contract import LayerShape, Variant
from moevariants.parts.experts import Experts
from moevariants.parts.gates import SigmoidGate
from moevariants.parts.routers import LinearRouter
from moevariants.parts.settings import number, whole, wrong
from moevariants.parts.sparse import Places, SparseLayer


class DeepSeek(Variant):
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
    paper = "https://arxiv.org/abs/2401.06066"
    code = "https://github.com/deepseek-ai/DeepSeek-MoE"
    causal = True
    separable = True
    mass = "exact"
    token_equivariant = True
    tune = {"experts": (16, 32, 64, 8), "top_k": (3,), "bias_rate": (1e-3, 3e-3, 1e-2)}

    def build(
        self,
        shape: LayerShape,
        size: int,
        *,
        experts: int = 16,
        shared: int = 1,
        top_k: int | None = None,
        bias_rate: float = 3e-3,
    ) -> SparseLayer:
        """One layer of E routed and S shared experts of hidden width ``size``."""
        whole(self, "experts", experts)
        whole(self, "shared", shared)
        chosen = min(3, experts) if top_k is None else top_k
        top_k = whole(self, "top_k", chosen, experts, " (the number of routed experts)")
        if top_k == 1 < experts:
            raise wrong(self, "top_k", top_k, "2 or more, because weights that sum to 1 teach one choice nothing")
        gate = SigmoidGate(experts, top_k, number(self, "bias_rate", bias_rate))
        router = LinearRouter(shape.dim, experts)
        routed = Experts(experts, shape, size)
        # S experts that all act are one of S times the width.
        return SparseLayer(router, gate, routed, Places(), Experts(1, shape, shared * size))
