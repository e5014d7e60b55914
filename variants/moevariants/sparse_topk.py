"""Sparse top-k token choice: each token goes to the K experts that its router scores highest."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from torch import nn

from moebench.contract import Choice, LayerShape, Settings, Space, Traits, Uniform
from moevariants.parts.experts import Experts
from moevariants.parts.gates import LOSSES, SoftmaxGate
from moevariants.parts.routers import LinearRouter
from moevariants.parts.settings import Given, fitting
from moevariants.parts.sparse import RULES, Bank, Places, SparseLayer

if TYPE_CHECKING:
    from moebench.budgets import Budget

SETTINGS = ("experts", "top_k", "capacity", "renormalise", "batch_priority", "noise_std")

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


class SparseTopK:
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

    Traits hold for all that ``space`` offers; a capacity would make a token depend on those it competes with.
    Mass: the weights of kept choices, T at most. With E = 1 the only weight is 1: the plain MLP.
    """

    name = "sparse_topk"
    revision = "70c35e11df391ede3e55"
    traits = Traits(
        causal=True,
        experts="separable",
        mass="at_most",
        single_expert="dense",
        token_equivariant=True,
        rules=RULES,
    )
    default_balance = 0.01
    """The weight of the balance loss where none is given."""
    more_settings: tuple[str, ...] = ()
    """What a variant that is made of this one takes beside."""

    def space(self, shape: LayerShape, budget: Budget) -> Space:
        """Tunes the number of experts and the weight of the balance loss; the rest is for suites to open."""
        return Space(
            {
                "experts": fitting(self, budget, "experts", (8, 16, 32, 64)),
                "top_k": Choice((2,)),
                "capacity": Choice((None,)),
                "renormalise": Choice((True,)),
                "batch_priority": Choice((False,)),
                "noise_std": Choice((0.0,)),
                "loss/balance": Uniform(1e-3, 1e-1, 1e-2, log=True),
                "loss/importance": Choice((0.0,)),
                "loss/load": Choice((0.0,)),
                "loss/z": Choice((0.0,)),
            }
        )

    def build(self, shape: LayerShape, size: int, settings: Settings) -> SparseLayer:
        """One layer of E experts of hidden width ``size``."""
        given = Given(self.name, (*SETTINGS, *self.more_settings, *(f"loss/{name}" for name in LOSSES)), settings)
        experts = given.whole("experts", 8)
        gate, places = self._gate(given, experts), self._places(given)
        return SparseLayer(self._router(shape, experts, given), gate, self._bank(shape, experts, size, given), places)

    def _router(self, shape: LayerShape, experts: int, given: Given) -> nn.Module:
        """x_BTD -> logits_BTE."""
        return LinearRouter(shape.dim, experts)

    def _bank(self, shape: LayerShape, experts: int, size: int, given: Given) -> Experts | Bank:
        """The experts."""
        return Experts(experts, shape.dim, size, shape.out_dim, shape)

    def _gate(self, given: Given, experts: int) -> SoftmaxGate:
        top_k = given.whole("top_k", min(2, experts), experts, " (the number of experts)")
        renormalise = given.switch("renormalise", top_k > 1)
        if renormalise and top_k == 1:
            raise given.wrong("renormalise", "false where top_k is 1, or the router gets no gradient")
        noise_std = given.number("noise_std", 0.0)
        defaults = {"balance": self.default_balance}
        losses = tuple(name for name in LOSSES if given.number(f"loss/{name}", defaults.get(name, 0.0)))
        if "load" in losses and not noise_std:
            raise given.wrong("loss/load", "0 where noise_std is 0, because it is undefined without noise")
        return SoftmaxGate(top_k, renormalise=renormalise, noise_std=noise_std, losses=losses)

    def _places(self, given: Given) -> Places:
        factor = None if given.settings.get("capacity") is None else given.number("capacity", 0.0)
        if factor == 0:
            raise given.wrong("capacity", "a factor above 0, or None for no limit")
        return Places(factor, given.switch("batch_priority", False))
