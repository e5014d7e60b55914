"""A small variant in plain torch that keeps every promise: what the broken ones are made of."""

from __future__ import annotations

import torch
from torch import nn

from moebench.contract import Layer, LogUniform, Routing, Variant


class GoodLayer(Layer):
    """Top-2 token choice, one expert after the other. Every step is a method, so that each can be spoilt alone."""

    def __init__(self, shape, hidden, experts, top_k):
        super().__init__()
        self.shape = shape
        self.num_experts, self.top_k = experts, min(top_k, experts)
        self.gate = nn.Parameter(torch.empty(shape.dim, experts).normal_(std=shape.dim**-0.5))
        self.w_in = nn.Parameter(torch.empty(experts, shape.dim, hidden).normal_(std=shape.dim**-0.5))
        self.b_in = nn.Parameter(torch.zeros(experts, hidden))
        self.w_out = nn.Parameter(torch.empty(experts, hidden, shape.out_dim).normal_(std=hidden**-0.5))
        self.b_out = nn.Parameter(torch.zeros(experts, shape.out_dim))

    def logits(self, x):
        with torch.autocast(x.device.type, enabled=False):
            return x.to(self.gate.dtype) @ self.gate

    def weights(self, logits, chosen):
        return logits.gather(-1, chosen).softmax(-1)

    def losses(self, logits, chosen, real):
        picked = torch.zeros_like(logits).scatter(-1, chosen, 1 / chosen.shape[-1]) * real
        tokens = real.sum().clamp(min=1)
        share = picked.sum((0, 1)) / tokens
        return {"balance": self.num_experts * (share * (logits.softmax(-1) * real).sum((0, 1)) / tokens).sum()}

    def kept(self, real, chosen):
        return real.expand(chosen.shape).clone()

    def route(self, x, context):
        mask = context.token_mask_BT
        real = torch.ones(*x.shape[:2], 1, dtype=torch.bool) if mask is None else mask[..., None]
        logits = self.logits(x)
        chosen = logits.detach().topk(self.top_k, dim=-1).indices
        weight, losses = self.weights(logits, chosen), self.losses(logits, chosen, real)
        kept = self.kept(real, chosen)
        return Routing.sparse(chosen, weight, experts=self.num_experts, kept_BTK=kept, losses=losses)

    def expert(self, e, rows):
        hidden = self.shape.activate(rows @ self.w_in[e] + self.b_in[e])
        return hidden @ self.w_out[e] + self.b_out[e]

    def compute(self, x, routing, keep=None):
        y = x.new_zeros(*x.shape[:2], self.shape.out_dim)
        for e in range(self.num_experts):
            hit = (routing.chosen_BTK == e) & routing.kept_BTK
            if keep is not None:
                hit = hit & keep[:, e, None, None]
            b, t, k = hit.nonzero(as_tuple=True)
            if len(b):
                rows = self.expert(e, x[b, t]) * routing.weight_BTK[b, t, k, None]
                y = y.index_put((b, t), rows.to(y.dtype), accumulate=True)
        return y

    def expert_parameters(self):
        return {"w_in": 0, "b_in": 0, "w_out": 0, "b_out": 0}


class Good(Variant):
    """Its factory."""

    name = "good"
    causal = True
    separable = True
    mass = "exact"
    single_expert = "dense"
    token_equivariant = True
    tune = {"experts": (4, 8), "top_k": (2, 3), "loss/balance": LogUniform(1e-3, 1e-1, default=1e-2)}
    makes = GoodLayer

    def build(self, shape, size, *, experts=4, top_k=2):
        return self.makes(shape, size, experts, top_k)
