"""Unusual variants that keep their promises: no check may refuse what the contract allows."""

from __future__ import annotations

import dataclasses

import torch
from data_of_others import scaled
from good import Good, GoodLayer
from torch import nn

from moebench.contract import Context, Restricts, Routing

SCALE, ORDER = torch.tensor(1.0), torch.arange(4096)
"""A constant and a table of whole numbers, which hide no weights."""


class SharedLayer(GoodLayer):
    """A dense part that always acts, and experts whose outputs start at zero."""

    def __init__(self, shape, *sizes):
        super().__init__(shape, *sizes)
        self.norm = nn.LayerNorm(shape.dim)
        self.shared = nn.Linear(shape.dim, shape.out_dim)
        nn.init.zeros_(self.w_out)

    def compute(self, x, routing, keep=None):
        return super().compute(self.norm(x), routing, keep) + self.shared(x) * SCALE + 0 * scaled(ORDER)[0]


class Shared(Good):
    name = "shared"
    makes = SharedLayer
    single_expert = ""  # a shared part acts beside it


class CapacityLayer(GoodLayer):
    """Two places an expert and input, given away in token order, first choices first."""

    def route(self, x, context):
        routing = super().route(x, context)
        wants = nn.functional.one_hot(routing.chosen_BTK, self.num_experts) * routing.kept_BTK[..., None]
        queue = wants.transpose(1, 2).flatten(1, 2).cumsum(1).unflatten(1, (-1, x.shape[1])).transpose(1, 2)
        kept = ((queue * wants).sum(-1) <= 2) & routing.kept_BTK
        return dataclasses.replace(routing, kept_BTK=kept)

    def nominal_routing(self, x):
        """All places taken, as many as there are choices."""
        routing, tokens = super().route(x, Context()), x.shape[1]
        turn = torch.arange(tokens * self.top_k).view(tokens, -1) % self.num_experts
        kept = torch.arange(turn.numel()).view_as(turn) < 2 * self.num_experts
        return dataclasses.replace(
            routing, chosen_BTK=turn.expand(len(x), -1, -1), kept_BTK=kept.expand(len(x), -1, -1)
        )


class Capacity(Good):
    name = "capacity"
    makes = CapacityLayer
    causal = False
    token_equivariant = False
    mass = "at_most"
    single_expert = ""  # one expert has two places for all tokens


class BalancedLayer(GoodLayer):
    """Sigmoid scores, a bias that balances after each step, noise and batch statistics in training."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.norm = nn.BatchNorm1d(self.shape.dim)
        self.register_buffer("bias", torch.zeros(self.num_experts))
        self.register_buffer("counts", torch.zeros(self.num_experts, dtype=torch.int64))

    def route(self, x, context):
        mask = context.token_mask_BT
        real = torch.ones(*x.shape[:2], 1, dtype=torch.bool) if mask is None else mask[..., None]
        noise = 0.1 * torch.randn(len(x), x.shape[1], self.num_experts) if self.training else 0.0
        score = (self.logits(x) + noise).sigmoid()
        chosen = (score.detach() + self.bias).topk(self.top_k).indices
        weight = score.gather(-1, chosen)
        weight = weight / weight.sum(-1, keepdim=True)
        kept = real.expand(chosen.shape).clone()
        if self.training:
            self.counts += torch.bincount(chosen[kept], minlength=self.num_experts)
        return Routing.sparse(chosen, weight, experts=self.num_experts, kept_BTK=kept)

    def compute(self, x, routing, keep=None):
        return super().compute(self.norm(x.transpose(1, 2)).transpose(1, 2), routing, keep)

    def after_step(self):
        self.bias += 0.01 * (self.counts.double().mean() - self.counts).sign()
        self.counts.zero_()


class Balanced(Good):
    name = "balanced"
    makes = BalancedLayer
    causal = False
    single_expert = ""  # batch statistics act beside it
    tune = {"experts": (4, 8), "top_k": (2, 3)}


class RuledLayer(Restricts, GoodLayer):
    """Offers both combination rules; every step is a method, so that each can be spoilt alone."""

    rules = ("renormalise", "mask_logits")

    def restrict(self, x, routing, keep, rule):
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
        chosen = logits.topk(self.top_k).indices
        return self.told(routing, chosen, self.weights(logits, chosen), self.left(keep, chosen))

    def told(self, routing, chosen, weight, kept):
        return dataclasses.replace(routing, chosen_BTK=chosen, weight_BTK=weight, kept_BTK=kept)


class Ruled(Good):
    name = "ruled"
    makes = RuledLayer


HONEST = (Shared, Capacity, Balanced, Ruled)
