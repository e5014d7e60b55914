"""A layer in two steps: ``route`` decides, ``compute`` works."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from moebench.contract.part import part_of
from moebench.errors import UnknownNameError


@dataclass(frozen=True)
class Routing:
    """What a layer decided for a batch, before any expert has worked.

    mass_BE: combine weight that reaches expert e, summed over the input's tokens; None without experts.
    losses: auxiliary losses by name, raw and unweighted scalars (balance, importance, load, z, ...).
    chosen_BTK, weight_BTK, kept_BTK: the experts a token chose, their weights, and whether the choice found
        room; None unless the routing is sparse. No two kept choices of a token are of one expert.
    state: what ``compute`` needs; opaque to everyone else.
    """

    mass_BE: Tensor | None
    losses: Mapping[str, Tensor] = field(default_factory=dict)
    chosen_BTK: Tensor | None = None
    weight_BTK: Tensor | None = None
    kept_BTK: Tensor | None = None
    state: Any = None


class Layer(nn.Module):
    """An expert layer. ``forward(x) == compute(x, route(x))``.

    A mask has one meaning for all layers: routing, capacity, priority and weights are those of the full layer; the
    contribution of a masked expert is zero and its work is skipped, not multiplied by zero; the weights of the
    others do not change; shared and base parts always act.
    """

    num_experts: int = 0
    """E; 0 for a layer without experts."""

    experts_per_token: int | None = None
    """K of a sparse layer; None where every expert acts."""

    rules: tuple[str, ...] = ()
    """The combination rules that :meth:`restrict` knows."""

    def route(self, x_BTD: Tensor, token_mask_BT: Tensor | None = None) -> Routing:
        """Decide for a batch, without expert work. ``token_mask_BT`` is False at padding, which takes no part."""
        raise TypeError(f"{type(self).__name__} must define route()")

    def compute(self, x_BTD: Tensor, routing: Routing, keep_BE: Tensor | None = None) -> Tensor:
        """Work as decided; returns y_BTO. ``keep_BE`` is True for the experts that act; None means all."""
        raise TypeError(f"{type(self).__name__} must define compute()")

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Route and compute; returns y_BTO."""
        return self.compute(x_BTD, self.route(x_BTD))

    def restrict(self, x_BTD: Tensor, routing: Routing, keep_BE: Tensor, rule: str) -> Routing:
        """The routing of the subset ``keep_BE`` (at least its mass, and no weight outside) under a ``rule``.

        Algorithm 1 of arXiv 2409.00879 leaves the weights of the kept experts as they are: what a mask in
        :meth:`compute` does, and no rule is needed for. A layer may offer others, named in ``rules`` and in its
        variant's :class:`Traits`:

        ``renormalise``: the weights of each token are divided by their sum over the subset; a token with nothing
        left stays 0. ``mask_logits``: softmax and choice over the logits of the subset alone.

        ``routing`` is that of :meth:`route` for the same x_BTD, and is left as it is. The result goes to
        ``compute(x_BTD, restricted, keep_BE)``. :class:`UnknownNameError` for a rule that the layer does not have.
        """
        raise UnknownNameError("combination rule", rule, self.rules, where=type(self).__name__)

    def part_of(self, x_BTD: Tensor, routing: Routing, inputs: slice) -> Routing:
        """The routing of some inputs, as it was decided among all of x_BTD: for ``compute(x_BTD[inputs], part)``.

        Needed where a batch is divided among processes. Here by taking the rows of every tensor of the routing and of
        its state that has one for each input; a layer whose state holds anything else of a batch overrides it. The
        losses stay those of all.
        """
        part: Routing = part_of(dataclasses.replace(routing, losses={}), inputs, len(x_BTD))
        return dataclasses.replace(part, losses=routing.losses)

    def combine_weights(self, routing: Routing) -> Tensor | None:
        """combine_BTE: the weight with which the output of expert e reaches token t; None where there is no such.

        Summed over tokens it is ``mass_BE``. Of a sparse routing it is made here from the kept choices; a layer
        with soft weights gives the sum over the expert's slots (C of arXiv 2308.00951, equation 2).
        """
        if routing.chosen_BTK is None or routing.weight_BTK is None or routing.kept_BTK is None:
            return None
        given_BTK = routing.weight_BTK * routing.kept_BTK
        none_BTE = given_BTK.new_zeros(*given_BTK.shape[:2], self.num_experts)
        return none_BTE.scatter_add(2, routing.chosen_BTK, given_BTK)

    def dispatch_weights(self, routing: Routing) -> Tensor | None:
        """dispatch_BTE: the share of token t in what expert e works on; None where experts work on single tokens.

        The largest over the expert's slots (D of arXiv 2308.00951, equation 1).
        """
        return None

    @torch.no_grad()
    def contribution_norms(self, x_BTD: Tensor, routing: Routing) -> Tensor | None:
        """norm_BE: the l2 norm of what expert e adds to a token's output, summed over tokens; None without experts.

        Here by one masked pass an expert, less what shared parts give without any; a layer may know a shorter way.
        Without a gradient.
        """
        if not self.num_experts:
            return None
        nobody_BE = torch.zeros(len(x_BTD), self.num_experts, dtype=torch.bool, device=x_BTD.device)
        base_BTO = self.compute(x_BTD, routing, nobody_BE)
        norms = []
        for expert in range(self.num_experts):
            alone_BE = nobody_BE.index_fill(1, torch.tensor(expert, device=x_BTD.device), True)
            norms.append((self.compute(x_BTD, routing, alone_BE) - base_BTO).norm(dim=2).sum(1))
        return torch.stack(norms, 1)

    def nominal_routing(self, x_BTD: Tensor) -> Routing:
        """The routing whose cost is quoted as the layer's FLOPs: balanced load, nothing dropped beyond capacity."""
        return self.route(x_BTD)

    def after_step(self) -> None:
        """Called once after each optimiser step, in training only (bias balancing and the like)."""

    def expert_parameters(self) -> Mapping[str, int]:
        """Parameters that belong to single experts: name as in ``named_parameters`` -> its expert axis."""
        return {}

    def experts_held(self, name: str) -> range:
        """The experts that one of :meth:`expert_parameters` holds, in the order of its axis: all, unless experts differ
        in size and each size has a parameter of its own.
        """
        return range(self.num_experts)

    def mean_experts_per_token(self) -> float:
        """How many experts act on a token: K, or all; a mean for a layer in which tokens have different numbers."""
        return self.num_experts if self.experts_per_token is None else self.experts_per_token

    def active_parameters(self) -> int:
        """Parameters that act on one token: all, less the share of the experts that it did not choose; of experts that
        differ in size, under an even load.
        """
        total = sum(p.numel() for p in self.parameters())
        if not self.num_experts:
            return total
        of_experts = self.expert_parameters()
        expert_total = sum(p.numel() for name, p in self.named_parameters() if name in of_experts)
        idle = self.num_experts - min(self.mean_experts_per_token(), self.num_experts)
        return total - int(expert_total * idle / self.num_experts)
