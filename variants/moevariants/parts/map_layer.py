"""A layer whose experts work on whole feature maps, and what the variants made of it have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from moebench.contract import Choice, LayerShape, Routing, Settings, Space, Traits, Uniform
from moevariants.parts.constrained import SOFT, ConstrainedGate, least_hard
from moevariants.parts.maps import MapExperts
from moevariants.parts.settings import Given, fitting
from moevariants.parts.sparse import RULES, Places, SparseLayer
from moevariants.parts.whole_input import WholeInputRouter

if TYPE_CHECKING:
    from moebench.budgets import Budget

SETTINGS = ("experts", "top_k", "renormalise", "hard", "memory", *(f"loss/{name}" for name in SOFT))


class MapLayer(SparseLayer):
    """y_BTO = sum over an input's K experts of weight f_e(before(map)): to the sparse layer a whole map is one token.

    before: what every input goes through first, from rows of maps to rows of maps; no mask reaches it.
    """

    def __init__(self, router: WholeInputRouter, gate: ConstrainedGate, experts: MapExperts, before: nn.Module) -> None:
        super().__init__(router, gate, experts, Places())
        self.before = before

    def route(self, x_BTD: Tensor, token_mask_BT: Tensor | None = None) -> Routing:
        """One choice for all tokens of an input; ValueError where some of them are padding, which no map has."""
        if token_mask_BT is not None:
            raise ValueError("a feature map has no padding")
        return super().route(x_BTD)

    def compute(self, x_BTD: Tensor, routing: Routing, keep_BE: Tensor | None = None) -> Tensor:
        """Send each map to its kept experts, whole, and add up what comes back."""
        rows_B1F = self.before(x_BTD.flatten(1)).unsqueeze(1)
        y_B1F = super().compute(rows_B1F, _of_one_token(routing), keep_BE)
        return y_B1F.view(*x_BTD.shape[:2], -1)

    def nominal_routing(self, x_BTD: Tensor) -> Routing:
        """The router at work, but inputs dealt out in turn."""
        routing = self.route(x_BTD)
        (num_inputs, num_tokens), top_k = x_BTD.shape[:2], self.gate.top_k
        turn_B1K = torch.arange(num_inputs * top_k, device=x_BTD.device).view(num_inputs, 1, top_k)
        chosen_BTK = (turn_B1K % self.num_experts).expand(-1, num_tokens, -1)
        weight_BTK = x_BTD.new_full((num_inputs, num_tokens, top_k), 1 / top_k)
        mass_BE = weight_BTK.new_zeros(num_inputs, self.num_experts).scatter_add(1, chosen_BTK[:, 0], weight_BTK.sum(1))
        kept_BTK = torch.ones_like(chosen_BTK, dtype=torch.bool)
        return Routing(mass_BE, routing.losses, chosen_BTK, weight_BTK, kept_BTK, routing.state)


def _of_one_token(routing: Routing) -> Routing:
    """The routing of maps as single tokens."""
    assert routing.chosen_BTK is not None
    assert routing.weight_BTK is not None
    assert routing.kept_BTK is not None
    return Routing(
        routing.mass_BE,
        chosen_BTK=routing.chosen_BTK[:, :1],
        weight_BTK=routing.weight_BTK[:, :1],
        kept_BTK=routing.kept_BTK[:, :1],
        state=routing.state,
    )


class MapMoE:
    """What the variants of arXiv 2204.10598 share: traits, settings, router and gate.

    Settings: ``experts`` E; ``top_k`` K; ``renormalise`` the K weights to 1 (true unless K = 1, where it would leave
    the router without a gradient); the soft constraints ``loss/importance``, CV^2 of the summed probabilities, and
    ``loss/kl``, their divergence from uniform, losses that are computed in training where they have a weight; the hard
    constraint ``hard``, in training the most that an expert's running importance may be of the mean before it is left
    out (None: no limit), and the ``memory`` of that importance in steps. See ``parts.constrained``. Mass: the weights
    given, times T, T at most.
    """

    name: str
    traits: Traits

    def space(self, shape: LayerShape, budget: Budget) -> Space:
        """Tunes the number of experts and the weight of the importance loss; the rest is for suites to open."""
        return Space(
            {
                "experts": fitting(self, budget, "experts", (8, 16, 4)),
                "top_k": Choice((1,)),
                "renormalise": Choice((False,)),
                "hard": Choice((None,)),
                "memory": Choice((10,)),
                "loss/importance": Uniform(1e-3, 1e-1, 1e-2, log=True),
                "loss/kl": Choice((0.0,)),
            }
        )

    def build(self, shape: LayerShape, size: int, settings: Settings) -> MapLayer:
        """One layer of E experts; what ``size`` is, is the variant's to say."""
        given = Given(self.name, SETTINGS, settings)
        experts = given.whole("experts", 8)
        gate = self._gate(given, experts)
        return MapLayer(WholeInputRouter(shape.dim, experts), gate, *self._work(shape, experts, size))

    def _work(self, shape: LayerShape, experts: int, size: int) -> tuple[MapExperts, nn.Module]:
        """The experts, and what every input goes through before them."""
        raise NotImplementedError

    def _gate(self, given: Given, experts: int) -> ConstrainedGate:
        top_k = given.whole("top_k", 1, experts, " (the number of experts)")
        renormalise = given.switch("renormalise", top_k > 1)
        if renormalise and top_k == 1:
            raise given.wrong("renormalise", "false where top_k is 1, or the router gets no gradient")
        hard = None if given.settings.get("hard") is None else given.number("hard", 0.0)
        if hard is not None and hard < least_hard(experts, top_k):
            least = least_hard(experts, top_k)
            raise given.wrong("hard", f"None, or at least {least:.4g}, so that {top_k} of {experts} experts are left")
        losses = tuple(name for name in SOFT if given.number(f"loss/{name}", 0.0))
        memory = given.whole("memory", 10)
        return ConstrainedGate(experts, top_k, renormalise=renormalise, losses=losses, hard=hard, memory=memory)


TRAITS = Traits(
    hosts=("map",),
    experts="separable",
    mass="at_most",
    single_expert="none",
    single_expert_reason="an expert is a part of a convolutional network, not an MLP",
    whole_input=True,
    rules=RULES,
)
"""Those of both variants."""
