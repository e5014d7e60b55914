"""Sparse top-k balanced by quantiles: a bias that one batch determines, and no loss."""

from __future__ import annotations

from torch import nn

from moebench.contract import LayerShape, Variant
from moevariants.parts.experts import Experts
from moevariants.parts.gates import QuantileGate
from moevariants.parts.routers import LinearRouter
from moevariants.parts.settings import renormalises, whole
from moevariants.parts.sparse import Places, SparseLayer


class TopKQB(Variant):
    """Quantile balancing (J. Su, kexue.fm/archives/11619; the report of Kimi K3, section 2.3.3 and appendix D).

    logits_BTE = x_BTD W_DE; the K experts of largest logit + b_E are chosen; y_BTO = sum over them of weight f_e(x),
    weight = sigmoid(logit), over the sum of the chosen if ``renormalise``. b is no parameter: after each optimiser
    step it is computed anew from the tokens of that step alone, so that at each expert as many tokens exceed what they
    would need to be among the chosen (see :class:`~moevariants.parts.gates.QuantileGate`). It has no rate and no weight
    of a loss to tune. Exact order statistics of the whole batch stand for the histograms of the report.

    Settings: ``experts`` E; ``top_k`` K (2, or 1 with one expert); ``renormalise`` (true unless K = 1). Size is the
    hidden width of one expert. Mass: T where weights sum to 1, else less than K a token.
    """

    name = "topk_qb"
    revision = "topk_qb_1"
    paper = "https://kexue.fm/archives/11619"
    causal = True
    separable = True
    mass = "at_most"
    token_equivariant = True
    tune = {"experts": (8, 16, 32, 64), "top_k": (2,)}

    def build(
        self,
        shape: LayerShape,
        size: int,
        *,
        experts: int = 8,
        top_k: int | None = None,
        renormalise: bool | None = None,
    ) -> SparseLayer:
        """One layer of E experts of hidden width ``size``."""
        whole(self, "experts", experts)
        top_k = whole(self, "top_k", min(2, experts) if top_k is None else top_k, experts, " (the number of experts)")
        gate = QuantileGate(experts, top_k, renormalise=renormalises(self, renormalise, top_k))
        return SparseLayer(self._router(shape, experts), gate, Experts(experts, shape, size), Places())

    def _router(self, shape: LayerShape, experts: int) -> nn.Module:
        """x_BTD -> logits_BTE."""
        return LinearRouter(shape.dim, experts)
