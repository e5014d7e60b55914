"""Experts that work in a narrow latent width, between projections that all of them share."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from moebench.contract import LayerShape, LogUniform, Routing, Variant
from moevariants.parts.experts import Experts
from moevariants.parts.gates import LOSSES, SoftmaxGate
from moevariants.parts.routers import LinearRouter
from moevariants.parts.settings import whole, wrong
from moevariants.parts.sparse import Places, SparseLayer


class LatentMoE(Variant):
    """LatentMoE (arXiv 2601.18089): y_BTO = (sum over the K choices of g f_e(x W_down)) W_up.

    The router sees x_BTD itself: p_BTE = softmax over E of x W, g = the K largest p over their sum. The experts have
    width L = D / ``narrow`` on both sides; W_down (D, L) and W_up (L, O) have no biases and act on every token. At
    equal cost ``narrow`` times as many experts, and as many times the K, take the place of those of full width.

    Settings: ``experts`` E; ``top_k`` K, 2 or more; ``narrow``; ``loss/balance``. Size is the hidden width of one
    expert. Mass: the weights of the choices, T. ``narrow`` must divide D.
    """

    name = "latent_moe"
    revision = "latent_moe_1"
    paper = "https://arxiv.org/abs/2601.18089"
    causal = True
    separable = True
    mass = "exact"
    token_equivariant = True
    tune = {
        "experts": (16, 32, 64, 8),
        "top_k": (4, 2),
        "narrow": (4, 2),
        "loss/balance": LogUniform(1e-3, 1e-1, default=1e-2),
    }

    def build(
        self,
        shape: LayerShape,
        size: int,
        *,
        experts: int = 16,
        top_k: int = 4,
        narrow: int = 4,
        losses: tuple[str, ...] = ("balance",),
    ) -> LatentLayer:
        """One layer of E experts of hidden width ``size``."""
        whole(self, "experts", experts)
        whole(self, "top_k", top_k, experts, " (the number of experts)")
        if top_k == 1 < experts:
            raise wrong(self, "top_k", top_k, "2 or more, because weights that sum to 1 teach one choice nothing")
        if shape.dim % whole(self, "narrow", narrow):
            raise wrong(self, "narrow", narrow, f"a divisor of the width {shape.dim}")
        gate = SoftmaxGate(top_k, renormalise=top_k > 1, losses=tuple(name for name in LOSSES if name in losses))
        return LatentLayer(shape, LinearRouter(shape.dim, experts), gate, experts, size, narrow)


class LatentLayer(SparseLayer):
    """A sparse layer whose experts see x W_down, and whose sum goes through W_up."""

    def __init__(
        self, shape: LayerShape, router: nn.Module, gate: SoftmaxGate, experts: int, size: int, narrow: int
    ) -> None:
        latent = shape.dim // narrow
        super().__init__(router, gate, Experts(experts, replace(shape, dim=latent, out_dim=latent), size), Places())
        self.down, self.up = nn.Linear(shape.dim, latent, bias=False), nn.Linear(latent, shape.out_dim, bias=False)

    def compute(self, x_BTD: Tensor, routing: Routing, keep_BE: Tensor | None = None) -> Tensor:
        """Down, experts, up."""
        y_BTO: Tensor = self.up(super().compute(self.down(x_BTD), routing, keep_BE))
        return y_BTO
