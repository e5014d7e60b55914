"""ReLU routing: a token goes to every expert of positive score, and a loss makes these few."""

from __future__ import annotations

from moebench.contract import LayerShape, Variant
from moevariants.parts.experts import Experts
from moevariants.parts.routers import LinearRouter
from moevariants.parts.settings import number, whole, wrong
from moevariants.parts.varying import ReLUGate, VaryingLayer


class ReMoE(Variant):
    """ReMoE (Wang et al., arXiv 2412.14711): y_BTO = sum over E of relu(x_BTD W_DE) f_e(x).

    Only experts of positive weight work. ``loss/sparsity``: scale x E / K sum_e (share of the tokens on which e acts)
    (its mean weight); after each step the scale goes up by ``factor`` where more than K experts acted on a token on
    average, else down. Each layer has a scale of its own; in the paper all layers share one. The paper starts it at
    1e-8, for tens of thousands of steps; here it starts so that some hundreds are enough.

    At first half of the experts act on a token. Active parameters and FLOPs are quoted at K, to which training brings
    the mean; the FLOPs of training are those that happened.

    Settings: ``experts`` E; ``top_k`` K, the mean; ``start``, the first scale; ``factor``, above 1; ``loss/sparsity``,
    1. Size is the hidden width of one expert. Mass: any. A token may have no expert, or all.
    """

    name = "remoe"
    revision = "remoe_1"
    paper = "https://arxiv.org/abs/2412.14711"
    causal = True
    separable = True
    token_equivariant = True
    tune = {"experts": (8, 16, 32, 64), "top_k": (2,), "loss/sparsity": (1.0,)}

    def build(
        self,
        shape: LayerShape,
        size: int,
        *,
        experts: int = 8,
        top_k: int = 2,
        start: float = 1e-3,
        factor: float = 1.2,
        losses: tuple[str, ...] = ("sparsity",),
    ) -> VaryingLayer:
        """One layer of E experts of hidden width ``size``."""
        whole(self, "experts", experts)
        whole(self, "top_k", top_k, experts, " (the number of experts)")
        if number(self, "start", start) == 0:
            raise wrong(self, "start", start, "above 0")
        if number(self, "factor", factor) <= 1:
            raise wrong(self, "factor", factor, "above 1")
        gate = ReLUGate(top_k, start=float(start), factor=float(factor), loss="sparsity" in losses)
        return VaryingLayer(LinearRouter(shape.dim, experts), gate, Experts(experts, shape, size))
