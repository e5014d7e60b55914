"""Omni-SMoLA: a base MLP for every token, beside it a soft mixture of low-rank experts."""

from __future__ import annotations

from torch import Tensor

from moebench.contract import Layer, LayerShape, Routing, Variant
from moevariants.parts.experts import Experts
from moevariants.parts.routers import SoftRouter
from moevariants.parts.settings import whole
from moevariants.soft_moe import SoftMoELayer


class SMoLA(Variant):
    """Soft mixture of low-rank experts (Wu et al., arXiv 2312.00968, section 3), around one MLP, in one modality.

    y_BTO = base(x_BTD) + combine_BTS (slots A_e) B_e, slots_BSD = dispatch^T x, with the weights of
    :class:`moevariants.soft_moe.SoftMoE`: dispatch a softmax over tokens and combine one over slots of x phi_DS. A_e is
    (D, r), B_e (r, O), without activation or bias. In the paper the mixture stands beside single frozen projections of
    a trained model; here it stands beside the MLP, and both are trained. Both factors start as ``nn.Linear`` does,
    because a B of zeros is for a base that is trained already.

    Settings: ``experts`` E; ``slots`` P an expert; ``rank`` r. Size is the hidden width of the base. Mass: the combine
    weights, T in all; no mask reaches the base. Every slot sees every token: not causal.
    """

    name = "smola"
    revision = "eb4bcf71fb13a7d9edf1"
    paper = "https://arxiv.org/abs/2312.00968"
    separable = True
    mass = "exact"
    token_equivariant = True
    tune = {"experts": (16, 32, 64, 8), "rank": (4, 8)}

    def build(self, shape: LayerShape, size: int, *, experts: int = 16, slots: int = 1, rank: int = 4) -> Layer:
        """One layer of a base of hidden width ``size`` and E experts of rank r."""
        whole(self, "experts", experts)
        router = SoftRouter(shape.dim, experts * whole(self, "slots", slots), normalise=False)
        bank = Experts(experts, shape, whole(self, "rank", rank), linear=True)
        return SMoLALayer(router, bank, slots, Experts(1, shape, size))


class SMoLALayer(SoftMoELayer):
    """A soft mixture with a base that always acts."""

    def __init__(self, router: SoftRouter, experts: Experts, slots: int, base: Experts) -> None:
        super().__init__(router, experts, slots)
        self.base = base

    def compute(self, x_BTD: Tensor, routing: Routing, keep_BE: Tensor | None = None) -> Tensor:
        """The mixture, or the kept part of it, and the base."""
        return super().compute(x_BTD, routing, keep_BE) + self.base.on_every_token(x_BTD)
