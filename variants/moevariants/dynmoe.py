"""Top-any gating: a token goes to every expert that it is similar enough to, so that nobody sets K."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from moebench.contract import Context, LayerShape, LogUniform, Routing, Variant
from moevariants.parts.experts import Experts
from moevariants.parts.gates import Gate, Gated
from moevariants.parts.routers import wide_product
from moevariants.parts.settings import whole
from moevariants.parts.varying import VaryingLayer, any_number


class DynMoE(Variant):
    """DynMoE (Guo et al., arXiv 2405.14297): tokens choose how many experts act on them, by learned thresholds.

    score_BTE = sigmoid(cos(x_BTD, w_ED)) - sigmoid(threshold_E); a token goes to the k experts of positive score, to
    that of the largest where there is none, and y_BTO = 1/k sum over these of f_e(x). What a chosen expert is worth has
    the gradient of its score (straight through). ``loss/diverse``: the Frobenius norm of (cosines of the w_E with each
    other - identity) + the mean length of the w_E.

    The paper gives tokens without an expert nothing in training, adds experts for them, and removes those that no token
    chooses. Here E is what the budget pays for, and training and evaluation are alike.

    At first half of the experts act on a token, at which active parameters and FLOPs are quoted; the FLOPs of training
    are those that happened.

    Settings: ``experts`` E; ``loss/diverse``. Size is the hidden width of one expert. Mass: T.
    """

    name = "dynmoe"
    revision = "dynmoe_1"
    causal = True
    separable = True
    mass = "exact"
    token_equivariant = True
    tune = {"experts": (8, 16, 32, 64), "loss/diverse": LogUniform(1e-3, 1e-1, default=1e-2)}

    def build(
        self, shape: LayerShape, size: int, *, experts: int = 8, losses: tuple[str, ...] = ("diverse",)
    ) -> DynMoELayer:
        """One layer of E experts of hidden width ``size``."""
        router = ThresholdRouter(shape.dim, whole(self, "experts", experts))
        return DynMoELayer(router, Experts(experts, shape, size), loss="diverse" in losses)


class ThresholdRouter(nn.Module):
    """score_BTE = sigmoid(cos(x_BTD, weight_ED)) - sigmoid(threshold_E); thresholds start at 0."""

    def __init__(self, dim: int, num_experts: int) -> None:
        super().__init__()
        self.weight_ED = nn.Parameter(torch.empty(num_experts, dim))
        self.threshold_E = nn.Parameter(torch.zeros(num_experts))
        nn.init.normal_(self.weight_ED, std=dim**-0.5)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """The scores, in float32 or wider."""
        cosine_BTE = wide_product(nn.functional.normalize(x_BTD, dim=-1), self._directions().mT)
        return cosine_BTE.sigmoid() - self.threshold_E.to(cosine_BTE.dtype).sigmoid()

    def diverse_loss(self) -> Tensor:
        """|| cosines of the experts - identity ||_F + the mean of their lengths."""
        cosine_EE = wide_product(self._directions(), self._directions().mT)
        apart = torch.linalg.matrix_norm(cosine_EE - torch.eye(len(cosine_EE)).to(cosine_EE))
        return apart + self.weight_ED.norm(dim=1).mean().to(apart.dtype)

    def _directions(self) -> Tensor:
        return nn.functional.normalize(self.weight_ED, dim=-1)


class AnyGate(Gate):
    """Each token with the experts of positive score, at least one, and 1/k for each of k."""

    def __init__(self, num_experts: int) -> None:
        super().__init__()
        self.top_k = (num_experts + 1) // 2

    def forward(self, logits_BTE: Tensor, token_mask_BT: Tensor | None = None) -> Gated:
        """The choices, in training as in evaluation."""
        score_BTE = logits_BTE.detach()
        above_BTE = score_BTE > 0
        largest_BTE = torch.zeros_like(above_BTE).scatter(-1, score_BTE.argmax(-1, keepdim=True), True)
        wanted_BTE = above_BTE | (largest_BTE & ~above_BTE.any(-1, keepdim=True))
        # Of the value 1, with the gradient of the score.
        one_BTE = torch.where(above_BTE, 1 + (logits_BTE - score_BTE), wanted_BTE.to(score_BTE))
        return any_number(one_BTE / wanted_BTE.sum(-1, keepdim=True), wanted_BTE)

    def among(self, logits_BTE: Tensor, keep_BE: Tensor) -> Gated:
        """The same as if there were only the kept experts."""
        gated: Gated = self(logits_BTE.masked_fill(~keep_BE.unsqueeze(1), -torch.inf))
        return gated


class DynMoELayer(VaryingLayer):
    """A layer of top-any gating, with its loss in training."""

    router: ThresholdRouter

    def __init__(self, router: ThresholdRouter, experts: Experts, *, loss: bool) -> None:
        super().__init__(router, AnyGate(experts.count), experts)
        self.loss = loss

    def route(self, x_BTD: Tensor, context: Context) -> Routing:
        """The choices, and the loss."""
        routing = super().route(x_BTD, context)
        return (
            replace(routing, losses={"diverse": self.router.diverse_loss()}) if self.training and self.loss else routing
        )
