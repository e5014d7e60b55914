"""Sparse mixtures whose experts do not compete: sigmoid scores, no renormalising."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moebench.contract import LayerShape, LogUniform, Variant
from moevariants.parts.experts import Experts
from moevariants.parts.gates import Gate, Gated
from moevariants.parts.losses import kl_loss
from moevariants.parts.routers import LinearRouter, choose_top_k, softmax_over_experts
from moevariants.parts.settings import number, whole, wrong
from moevariants.parts.sparse import Places, SparseLayer


class SigmaMoE(Variant):
    """sigma-MoE (Csordas et al., arXiv 2310.10837, sections 5 and 6): y_BTO = sum over the K choices of s_e f_e(x).

    s_BTE = sigmoid(x_BTD W_DE); the K largest are chosen and keep their scores as weights. In training each expert is
    left out of a batch with probability ``expert_dropout``, for all its tokens. ``loss/entropy``: log E less the
    entropy of the mean over the batch of softmax(x W), 0 for an even load. Initial weights are those of a dense layer
    of width E H, deviation c / sqrt(D) and c / sqrt(E H) with c = sqrt(2 / depth); columns of W have one norm.

    Settings: ``experts`` E; ``top_k`` K; ``expert_dropout``; ``loss/entropy``. Size is the hidden width of one expert.
    Mass: the scores of the choices, K T at most. The paper's claim: at equal total parameters it matches dense.
    """

    name = "sigma_moe"
    revision = "sigma_moe_1"
    paper = "https://arxiv.org/abs/2310.10837"
    code = "https://github.com/RobertCsordas/moe"
    causal = True
    separable = True
    token_equivariant = True
    tune = {
        "experts": (16, 32, 64, 8),
        "top_k": (4, 2),
        "expert_dropout": (0.05, 0.0),
        "loss/entropy": LogUniform(1e-4, 1e-2, default=1e-3),
    }

    def build(
        self,
        shape: LayerShape,
        size: int,
        *,
        experts: int = 16,
        top_k: int = 4,
        expert_dropout: float = 0.05,
        losses: tuple[str, ...] = ("entropy",),
    ) -> SparseLayer:
        """One layer of E experts of hidden width ``size``."""
        whole(self, "experts", experts)
        whole(self, "top_k", top_k, experts, " (the number of experts)")
        if number(self, "expert_dropout", expert_dropout) >= 1:
            raise wrong(self, "expert_dropout", expert_dropout, "below 1")
        router, bank = LinearRouter(shape.dim, experts), Experts(experts, shape, size)
        _draw(router, bank, shape)
        gate = FreeSigmoidGate(top_k, expert_dropout, entropy="entropy" in losses)
        return SparseLayer(router, gate, bank, Places())


@torch.no_grad()
def _draw(router: LinearRouter, bank: Experts, shape: LayerShape) -> None:
    """The initial weights of the paper's section 5; biases, which it has not, start at 0."""
    scale = (2 / shape.depth) ** 0.5
    nn.init.normal_(bank.w_in_EDH, std=scale * shape.dim**-0.5)
    nn.init.normal_(bank.w_out_EHO, std=scale * (bank.count * bank.w_out_EHO.shape[1]) ** -0.5)
    for bias in (bank.b_in_EH, bank.b_out_EO):
        if bias is not None:
            nn.init.zeros_(bias)
    nn.init.normal_(router.weight_DE, std=scale * shape.dim**-0.5)
    norm_E = router.weight_DE.norm(dim=0)
    router.weight_DE.mul_(norm_E.mean() / norm_E)


class FreeSigmoidGate(Gate):
    """The K largest sigmoids, each its own weight; in training some experts are left out of a batch."""

    def __init__(self, top_k: int, dropout: float, *, entropy: bool) -> None:
        super().__init__()
        self.top_k, self.dropout, self.entropy = top_k, dropout, entropy

    def forward(self, logits_BTE: Tensor, token_mask_BT: Tensor | None = None) -> Gated:
        """The choices; at least K experts stay in."""
        losses = {}
        if self.training and self.entropy:
            losses["entropy"] = kl_loss(softmax_over_experts(logits_BTE), token_mask_BT)
        score_BTE = ranked_BTE = logits_BTE.sigmoid()
        if self.training and self.dropout:
            # Those of the smallest draws are left out: never so many that a token lacks choices.
            draw_E = torch.rand(logits_BTE.shape[-1], device=logits_BTE.device)
            stays_E = draw_E >= self.dropout
            stays_E |= draw_E >= draw_E.sort(descending=True).values[self.top_k - 1]
            ranked_BTE = score_BTE.masked_fill(~stays_E, -torch.inf)
        return self._gated(score_BTE, ranked_BTE, losses)

    def among(self, logits_BTE: Tensor, keep_BE: Tensor) -> Gated:
        """The kept experts of largest score."""
        score_BTE = logits_BTE.sigmoid()
        kept_B1E = keep_BE.unsqueeze(1)
        return self._gated(score_BTE * kept_B1E, score_BTE.masked_fill(~kept_B1E, -torch.inf), {})

    def _gated(self, score_BTE: Tensor, ranked_BTE: Tensor, losses: dict[str, Tensor]) -> Gated:
        chosen_BTK = choose_top_k(ranked_BTE, self.top_k)
        return Gated(chosen_BTK, score_BTE.gather(-1, chosen_BTK), score_BTE.detach().amax(-1), losses)
