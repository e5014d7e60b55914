"""A layer in two steps: ``route`` decides, ``compute`` works."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class Routing:
    """What a layer decided for a batch, before any expert has worked.

    mass_BE: combine weight that reaches expert e, summed over the input's tokens; None without experts.
    losses: auxiliary losses by name, raw and unweighted scalars (balance, importance, load, z, ...).
    chosen_BTK, weight_BTK, kept_BTK: the experts a token chose, their weights, and whether the choice found
        room; None unless the routing is sparse.
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

    def route(self, x_BTD: Tensor, token_mask_BT: Tensor | None = None) -> Routing:
        """Decide for a batch, without expert work. ``token_mask_BT`` is False at padding, which takes no part."""
        raise TypeError(f"{type(self).__name__} must define route()")

    def compute(self, x_BTD: Tensor, routing: Routing, keep_BE: Tensor | None = None) -> Tensor:
        """Work as decided; returns y_BTO. ``keep_BE`` is True for the experts that act; None means all."""
        raise TypeError(f"{type(self).__name__} must define compute()")

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Route and compute; returns y_BTO."""
        return self.compute(x_BTD, self.route(x_BTD))

    def nominal_routing(self, x_BTD: Tensor) -> Routing:
        """The routing whose cost is quoted as the layer's FLOPs: balanced load, nothing dropped beyond capacity."""
        return self.route(x_BTD)

    def after_step(self) -> None:
        """Called once after each optimiser step, in training only (bias balancing and the like)."""

    def expert_parameters(self) -> Mapping[str, int]:
        """Parameters that belong to single experts: name as in ``named_parameters`` -> its expert axis."""
        return {}

    def active_parameters(self) -> int:
        """Parameters that act on one token: all, less the share of the experts that it did not choose."""
        total = sum(p.numel() for p in self.parameters())
        if not self.num_experts or self.experts_per_token is None:
            return total
        of_experts = self.expert_parameters()
        expert_total = sum(p.numel() for name, p in self.named_parameters() if name in of_experts)
        idle = self.num_experts - min(self.experts_per_token, self.num_experts)
        return total - expert_total * idle // self.num_experts
