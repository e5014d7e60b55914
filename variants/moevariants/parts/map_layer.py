"""A layer whose experts work on whole feature maps, and what the variants made of it have in common."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moebench.contract import Context, LayerShape, LogUniform, Routing, Variant
from moevariants.parts.constrained import SOFT, ConstrainedGate, least_hard
from moevariants.parts.experts import choices
from moevariants.parts.maps import MapExperts
from moevariants.parts.routers import WholeInputRouter
from moevariants.parts.settings import number, renormalises, whole, wrong
from moevariants.parts.sparse import Places, SparseLayer


class MapLayer(SparseLayer):
    """y_BTO = sum over an input's K experts of weight f_e(before(map)): to the sparse layer a whole map is one token.

    before: what every input goes through first, from rows of maps to rows of maps; no mask reaches it.
    """

    def __init__(self, router: WholeInputRouter, gate: ConstrainedGate, experts: MapExperts, before: nn.Module) -> None:
        super().__init__(router, gate, experts, Places())
        self.before = before

    def route(self, x_BTD: Tensor, context: Context) -> Routing:
        """One choice for all tokens of an input; ValueError where some of them are padding, which no map has."""
        if context.token_mask_BT is not None:
            raise ValueError("a feature map has no padding")
        return super().route(x_BTD, context)

    def compute(self, x_BTD: Tensor, routing: Routing, keep_BE: Tensor | None = None) -> Tensor:
        """Send each map to its kept experts, whole, and add up what comes back."""
        rows_B1F = self.before(x_BTD.flatten(1)).unsqueeze(1)
        y_B1F = super().compute(rows_B1F, _of_one_token(routing), keep_BE)
        return y_B1F.view(*x_BTD.shape[:2], -1)

    def nominal_routing(self, x_BTD: Tensor) -> Routing:
        """The router at work, but inputs dealt out in turn."""
        losses = self.route(x_BTD, Context()).losses
        (num_inputs, num_tokens), top_k = x_BTD.shape[:2], self.gate.top_k
        turn_B1K = torch.arange(num_inputs * top_k, device=x_BTD.device).view(num_inputs, 1, top_k)
        chosen_BTK = (turn_B1K % self.num_experts).expand(-1, num_tokens, -1)
        weight_BTK = x_BTD.new_full((num_inputs, num_tokens, top_k), 1 / top_k)
        return Routing.sparse(chosen_BTK, weight_BTK, experts=self.num_experts, losses=losses)


def _of_one_token(routing: Routing) -> Routing:
    """The routing of maps as single tokens."""
    chosen_BTK, weight_BTK, kept_BTK = choices(routing)
    kept_B1K = None if kept_BTK is None else kept_BTK[:, :1]
    return Routing.sparse(chosen_BTK[:, :1], weight_BTK[:, :1], experts=routing.num_experts, kept_BTK=kept_B1K)


class MapMoE(Variant):
    """What the variants of arXiv 2204.10598 share: claims, settings, router and gate.

    Settings: ``experts`` E; ``top_k`` K; ``renormalise`` the K weights to 1 (true unless K = 1, where it would leave
    the router without a gradient); the soft constraints ``loss/importance``, CV^2 of the summed probabilities, and
    ``loss/kl``, their divergence from uniform, losses that are computed in training where they have a weight; the hard
    constraint ``hard``, in training the most that an expert's running importance may be of the mean before it is left
    out (None: no limit), and the ``memory`` of that importance in steps. See ``parts.constrained``. Mass: the weights
    given, times T, T at most.
    """

    hosts = ("map",)
    separable = True
    mass = "at_most"
    whole_input = True
    tune = {
        "experts": (8, 16, 4),
        "renormalise": (False,),
        "loss/importance": LogUniform(1e-3, 1e-1, default=1e-2),
        "loss/kl": (0.0,),
    }

    def build(
        self,
        shape: LayerShape,
        size: int,
        *,
        experts: int = 8,
        top_k: int = 1,
        renormalise: bool | None = None,
        hard: float | None = None,
        memory: int = 10,
        losses: tuple[str, ...] = (),
    ) -> MapLayer:
        """One layer of E experts; what ``size`` is, is the variant's to say."""
        whole(self, "experts", experts)
        whole(self, "top_k", top_k, experts, " (the number of experts)")
        renormalise = renormalises(self, renormalise, top_k)
        least = least_hard(experts, top_k)
        if hard is not None and number(self, "hard", hard) < least:
            right = f"None, or at least {least:.4g}, so that {top_k} of {experts} experts are left"
            raise wrong(self, "hard", hard, right)
        gate = ConstrainedGate(
            experts,
            top_k,
            renormalise=renormalise,
            losses=tuple(name for name in SOFT if name in losses),
            hard=hard,
            memory=whole(self, "memory", memory),
        )
        return MapLayer(WholeInputRouter(shape.dim, experts), gate, *self._work(shape, experts, size))

    def _work(self, shape: LayerShape, experts: int, size: int) -> tuple[MapExperts, nn.Module]:
        """The experts, and what every input goes through before them."""
        raise NotImplementedError
