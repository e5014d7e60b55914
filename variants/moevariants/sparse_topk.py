"""Sparse top-k token choice: each token goes to the K experts that its router scores highest."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Literal

from torch import nn

from moebench.contract import LayerShape, LogUniform, Variant
from moevariants.parts.experts import Bank, Experts
from moevariants.parts.gates import LOSSES, SoftmaxGate
from moevariants.parts.routers import LinearRouter
from moevariants.parts.settings import number, renormalises, switch, whole, wrong
from moevariants.parts.sparse import Places, SparseLayer

PRESETS = MappingProxyType(
    {
        # Fedus et al., arXiv 2101.03961: one expert a token, weighted by its probability, and room for 1.25 even loads.
        "switch": {"top_k": 1, "renormalise": False, "capacity": 1.25, "loss/balance": 0.01},
        # Lepikhin et al., arXiv 2006.16668, without its random drop of second choices.
        "gshard": {"top_k": 2, "renormalise": True, "capacity": 2.0, "loss/balance": 0.01},
        # Riquelme et al., arXiv 2106.05974: the two losses share the weight 0.01.
        "v_moe": {
            "top_k": 2,
            "renormalise": False,
            "capacity": 1.05,
            "batch_priority": True,
            "noise_std": 1.0,
            "loss/balance": 0.0,
            "loss/importance": 0.005,
            "loss/load": 0.005,
        },
    }
)
"""Settings of :class:`SparseTopK` that make it the layer of a paper."""


class SparseTopK(Variant):
    """Top-K token choice (Shazeer et al., arXiv 1701.06538; V-MoE: Riquelme et al., arXiv 2106.05974).

    logits_BTE = x_BTD W_DE (+ N(0, 1) noise_std / E in training); p_BTE = softmax over E; weight_BTK = the K
    largest p, divided by their sum if ``renormalise``; y_BTO = sum over the K choices of weight f_e(x).

    Settings: ``experts`` E; ``top_k`` K (2, or 1 with one expert); ``capacity``, the factor c of the min(T,
    ceil(T K c / E)) places an expert has in one input, or None for as many as are asked for; ``renormalise``
    (true unless K = 1, where it would leave the router without a gradient); ``batch_priority``, whether
    places go to tokens of largest p first instead of in token order; ``noise_std``; the weights
    ``loss/balance``, ``loss/importance``, ``loss/load`` (needs noise) and ``loss/z``, of losses computed in
    training where they have a weight. A dropped choice gives 0, and the others keep their weights. Size is
    the hidden width of one expert. :data:`PRESETS` are those of Switch, GShard and V-MoE.

    Claims hold for all that ``space`` offers; a capacity would make a token depend on those it competes with.
    Mass: the weights of kept choices, T at most. With E = 1 the only weight is 1: the plain MLP.
    """

    name = "sparse_topk"
    revision = "70c35e11df391ede3e55"
    paper = "https://arxiv.org/abs/1701.06538"
    code = "https://github.com/google-research/vmoe"
    causal = True
    separable = True
    mass = "at_most"
    single_expert: Literal["dense", ""] = "dense"
    token_equivariant = True
    tune = {
        "experts": (8, 16, 32, 64),
        "top_k": (2,),
        "renormalise": (True,),
        "loss/balance": LogUniform(1e-3, 1e-1, default=1e-2),
        "loss/importance": (0.0,),
        "loss/load": (0.0,),
        "loss/z": (0.0,),
    }

    def build(
        self,
        shape: LayerShape,
        size: int,
        *,
        experts: int = 8,
        top_k: int | None = None,
        capacity: float | None = None,
        renormalise: bool | None = None,
        batch_priority: bool = False,
        noise_std: float = 0.0,
        losses: tuple[str, ...] = ("balance",),
        **router: Any,
    ) -> SparseLayer:
        """One layer of E experts of hidden width ``size``; ``router``: settings of a subclass's router."""
        whole(self, "experts", experts)
        top_k = whole(self, "top_k", min(2, experts) if top_k is None else top_k, experts, " (the number of experts)")
        renormalise = renormalises(self, renormalise, top_k)
        noise_std = number(self, "noise_std", noise_std)
        if "load" in losses and not noise_std:
            raise ValueError(
                f"{self.name}: loss/load must be 0 where noise_std is 0, because it is undefined without noise"
            )
        wanted = tuple(name for name in LOSSES if name in losses)
        gate = SoftmaxGate(top_k, renormalise=renormalise, noise_std=noise_std, losses=wanted)
        factor = None if capacity is None else number(self, "capacity", capacity)
        if factor == 0:
            raise wrong(self, "capacity", capacity, "a factor above 0, or None for no limit")
        places = Places(factor, switch(self, "batch_priority", batch_priority))
        return SparseLayer(self._router(shape, experts, **router), gate, self._bank(shape, experts, size), places)

    def _router(self, shape: LayerShape, experts: int) -> nn.Module:
        """x_BTD -> logits_BTE."""
        return LinearRouter(shape.dim, experts)

    def _bank(self, shape: LayerShape, experts: int, size: int) -> Bank:
        """The experts."""
        return Experts(experts, shape, size)
