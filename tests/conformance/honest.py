"""Unusual variants that keep their promises: no check may refuse what the contract allows."""

from __future__ import annotations

import dataclasses

import torch
from cases import traits
from good import Good, GoodLayer
from torch import nn

from moebench.contract import Layer, Routing, Space, Traits
from moebench.errors import BudgetError


class SharedLayer(GoodLayer):
    """A dense part that always acts, and experts whose outputs start at zero."""

    def __init__(self, shape, *sizes):
        super().__init__(shape, *sizes)
        self.norm = nn.LayerNorm(shape.dim)
        self.shared = nn.Linear(shape.dim, shape.out_dim)
        nn.init.zeros_(self.w_out)

    def compute(self, x, routing, keep=None):
        return super().compute(self.norm(x), routing, keep) + self.shared(x)


class Shared(Good):
    name = "shared"
    layer = SharedLayer
    traits = traits(single_expert="none", single_expert_reason="a shared part acts beside it")


class CapacityLayer(GoodLayer):
    """Two places an expert and input, given away in token order, first choices first."""

    def route(self, x, token_mask=None):
        routing = super().route(x, token_mask)
        wants = nn.functional.one_hot(routing.chosen_BTK, self.num_experts) * routing.kept_BTK[..., None]
        queue = wants.transpose(1, 2).flatten(1, 2).cumsum(1).unflatten(1, (-1, x.shape[1])).transpose(1, 2)
        kept = ((queue * wants).sum(-1) <= 2) & routing.kept_BTK
        mass = self.mass(routing.weight_BTK, routing.chosen_BTK, kept)
        return dataclasses.replace(routing, kept_BTK=kept, mass_BE=mass)

    def nominal_routing(self, x):
        """All places taken, as many as there are choices."""
        routing, tokens = super().route(x), x.shape[1]
        turn = torch.arange(tokens * self.experts_per_token).view(tokens, -1) % self.num_experts
        kept = torch.arange(turn.numel()).view_as(turn) < 2 * self.num_experts
        return dataclasses.replace(
            routing, chosen_BTK=turn.expand(len(x), -1, -1), kept_BTK=kept.expand(len(x), -1, -1)
        )


class Capacity(Good):
    name = "capacity"
    layer = CapacityLayer
    traits = traits(
        causal=False,
        token_equivariant=False,
        mass="at_most",
        single_expert="none",
        single_expert_reason="one expert has two places for all tokens",
    )


class BalancedLayer(GoodLayer):
    """Sigmoid scores, a bias that balances after each step, noise and batch statistics in training."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.norm = nn.BatchNorm1d(self.shape.dim)
        self.register_buffer("bias", torch.zeros(self.num_experts))
        self.register_buffer("counts", torch.zeros(self.num_experts, dtype=torch.int64))

    def route(self, x, token_mask=None):
        real = torch.ones(*x.shape[:2], 1, dtype=torch.bool) if token_mask is None else token_mask[..., None]
        noise = 0.1 * torch.randn(len(x), x.shape[1], self.num_experts) if self.training else 0.0
        score = (self.logits(x) + noise).sigmoid()
        chosen = (score.detach() + self.bias).topk(self.experts_per_token).indices
        weight = score.gather(-1, chosen)
        weight = weight / weight.sum(-1, keepdim=True)
        kept = real.expand(chosen.shape).clone()
        if self.training:
            self.counts += torch.bincount(chosen[kept], minlength=self.num_experts)
        return Routing(self.mass(weight, chosen, kept), {}, chosen, weight, kept)

    def compute(self, x, routing, keep=None):
        return super().compute(self.norm(x.transpose(1, 2)).transpose(1, 2), routing, keep)

    def after_step(self):
        self.bias += 0.01 * (self.counts.double().mean() - self.counts).sign()
        self.counts.zero_()


class Balanced(Good):
    name = "balanced"
    layer = BalancedLayer
    traits = traits(causal=False, single_expert="none", single_expert_reason="batch statistics act beside it")

    def space(self, shape, budget):
        space = super().space(shape, budget)
        del space["loss/balance"]
        return space


class PositionHashLayer(GoodLayer):
    """The place of a token decides, by a fixed table: no router, no weight but 1, and only T tokens."""

    def __init__(self, shape, hidden, experts, top_k):
        super().__init__(shape, hidden, experts, 1)
        del self.gate
        generator = torch.Generator().manual_seed(0)
        table = torch.randint(experts, (shape.tokens, 1), generator=generator).to(self.w_in.device)
        self.register_buffer("table", table)

    def route(self, x, token_mask=None):
        chosen = self.table.expand(len(x), -1, -1)
        weight = torch.ones_like(chosen, dtype=x.dtype)
        kept = torch.ones_like(chosen, dtype=torch.bool)
        if token_mask is not None:
            kept &= token_mask[..., None]
        return Routing(self.mass(weight, chosen, kept), {}, chosen, weight, kept)


class PositionHash(Balanced):
    name = "position_hash"
    layer = PositionHashLayer
    traits = traits(token_equivariant=False)


class FusedLayer(Layer):
    """A product of factors weighted by a soft gate: experts share all but a row of numbers."""

    def __init__(self, shape, rank, experts=8):
        super().__init__()
        self.num_experts = experts
        self.gate = nn.Parameter(torch.zeros(shape.dim, experts))
        self.own = nn.Parameter(torch.randn(experts, rank) + 1)
        self.left = nn.Linear(shape.dim, rank)
        self.right = nn.Linear(rank, shape.out_dim)

    def route(self, x, token_mask=None):
        with torch.autocast(x.device.type, enabled=False):
            gate = (x.to(self.gate.dtype) @ self.gate).softmax(-1)
        if token_mask is not None:
            gate = gate * token_mask[..., None]
        return Routing(gate.detach().sum(1), state=gate)

    def compute(self, x, routing, keep=None):
        gate = routing.state if keep is None else routing.state * keep[:, None]
        return self.right((gate @ self.own) * torch.relu(self.left(x)))

    def expert_parameters(self):
        return {"own": 0}


class Fused:
    name = "fused"
    traits = Traits(
        causal=True,
        experts="fused",
        mass="exact",
        single_expert="none",
        single_expert_reason="one expert is a product of factors",
        token_equivariant=True,
    )

    def space(self, shape, budget):
        return Space()

    def build(self, shape, size, settings):
        return FusedLayer(shape, size)


class UnpaddedLayer(GoodLayer):
    def route(self, x, token_mask=None):
        if token_mask is not None:
            raise ValueError("on_maps: a map has no padding")
        return super().route(x)


class OnMaps(Good):
    """Takes maps and nothing else, no padding, and says itself that a budget is out of reach."""

    name = "on_maps"
    traits = traits(hosts=("map",))

    layer = UnpaddedLayer

    def space(self, shape, budget):
        space = super().space(shape, budget)
        if not budget.fits(self, space.defaults()):
            raise BudgetError("on_maps: no setting meets the budget")
        return space

    def build(self, shape, size, settings):
        if shape.grid is None:
            raise ValueError(f"on_maps: {shape.tokens} tokens have no height and width")
        return super().build(shape, size, settings)


class RuledLayer(GoodLayer):
    """Offers both combination rules; every step is a method, so that each can be spoilt alone."""

    rules = ("renormalise", "mask_logits")

    def restrict(self, x, routing, keep, rule):
        if rule not in self.rules:
            return super().restrict(x, routing, keep, rule)
        return getattr(self, rule)(x, routing, keep)

    def left(self, keep, chosen):
        return keep[:, None].expand(-1, chosen.shape[1], -1).gather(2, chosen)

    def renormalise(self, x, routing, keep):
        kept = routing.kept_BTK & self.left(keep, routing.chosen_BTK)
        weight = self.shared_out(routing.weight_BTK * kept)
        return self.told(routing, routing.chosen_BTK, weight, kept)

    def shared_out(self, weight):
        return weight / weight.sum(-1, keepdim=True).clamp(min=1e-9)

    def mask_logits(self, x, routing, keep):
        logits = self.logits(x).masked_fill(~keep[:, None], -1e9)
        chosen = logits.topk(self.experts_per_token).indices
        return self.told(routing, chosen, self.weights(logits, chosen), self.left(keep, chosen))

    def told(self, routing, chosen, weight, kept):
        mass = self.mass(weight, chosen, kept)
        return dataclasses.replace(routing, mass_BE=mass, chosen_BTK=chosen, weight_BTK=weight, kept_BTK=kept)


class Ruled(Good):
    name = "ruled"
    layer = RuledLayer
    traits = traits(rules=RuledLayer.rules)


HONEST = (Shared, Capacity, Balanced, PositionHash, Fused, OnMaps, Ruled)
