"""Multilinear mixtures: all experts at once as a factorised tensor, none of them ever written down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moebench.contract import Context, Layer, LayerShape, Restricts, Routing, Variant
from moevariants.parts.multilinear import CPLinear, TRLinear
from moevariants.parts.routers import shared_out, wide_product
from moevariants.parts.settings import whole


class MuMoECP(Variant):
    """The multilinear mixture in CP form (Oldfield et al., arXiv 2402.12550, sections 3.1.1 and 4).

    a_BTE = entmax-1.5(LayerNorm(x_BTD G_DE)), the norm without affine part; hidden_BTM = act(mix(x, a)); y_BTO =
    mix(hidden, a), both with the same a, where mix(x, a) = sum_e a_e W_e [x, 1] and the tensor W of all experts has
    rank R: see :class:`moevariants.parts.multilinear.CPLinear`. The published gate has a BatchNorm, which would make
    outputs depend on their batch mates. The 1 is appended where the host has biases.

    Settings: ``experts`` E; ``wide``, M as a multiple of D. Size is the rank R. Mass: the gate's weights, T in all. An
    expert owns R numbers of each layer: experts are fused, and leaving some out saves next to nothing. With E = 1 it is
    an MLP whose two matrices have rank R.
    """

    name = "mu_moe_cp"
    revision = "09139758008aec9455e6"
    paper = "https://arxiv.org/abs/2402.12550"
    code = "https://github.com/james-oldfield/muMoE"
    causal = True
    mass = "exact"
    token_equivariant = True
    tune = {"experts": (8, 16, 32, 64)}
    linear: type[CPLinear] | type[TRLinear] = CPLinear

    def build(self, shape: LayerShape, size: int, *, experts: int = 8, wide: int = 4) -> Layer:
        """One layer of E experts and rank ``size``."""
        whole(self, "experts", experts)
        middle = whole(self, "wide", wide) * shape.dim
        first = self.linear(experts, shape.dim, shape.units(middle), size, bias=shape.bias)
        second = self.linear(experts, middle, shape.out_dim, size, bias=shape.bias)
        return MuMoELayer(shape, experts, first, second)


class MuMoETR(MuMoECP):
    """The multilinear mixture as a tensor ring (Oldfield et al., arXiv 2402.12550, section 3.1.2).

    As :class:`MuMoECP`, with :class:`moevariants.parts.multilinear.TRLinear` for mix: ranks 4, 4 and r3. Size is r3.
    """

    name = "mu_moe_tr"
    revision = "d82f56b0cb485e3a3db5"
    paper = "https://arxiv.org/abs/2402.12550"
    code = "https://github.com/james-oldfield/muMoE"
    linear = TRLinear


class MuMoELayer(Restricts, Layer):
    """Gate, two multilinear layers, the host's activation between them."""

    rules = ("renormalise",)

    def __init__(self, shape: LayerShape, num_experts: int, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.num_experts, self.shape = num_experts, shape
        self.gate_DE = nn.Parameter(torch.zeros(shape.dim, num_experts))
        self.first, self.second = first, second

    def route(self, x_BTD: Tensor, context: Context) -> Routing:
        """a_BTE, which starts even; padding has none."""
        token_mask_BT = context.token_mask_BT
        logits_BTE = wide_product(x_BTD, self.gate_DE)
        a_BTE = entmax15(F.layer_norm(logits_BTE, (self.num_experts,)))
        return Routing.soft(a_BTE if token_mask_BT is None else a_BTE * token_mask_BT.unsqueeze(-1))

    def compute(self, x_BTD: Tensor, routing: Routing, keep_BE: Tensor | None = None) -> Tensor:
        """Both layers with the weights of the kept experts."""
        a_BTE = routing.combine_BTE
        assert a_BTE is not None
        if keep_BE is not None:
            a_BTE = a_BTE * keep_BE.unsqueeze(1)
        a_BTE = a_BTE.to(x_BTD.dtype)
        y_BTO: Tensor = self.second(self.shape.activate(self.first(x_BTD, a_BTE)), a_BTE)
        return y_BTO

    def restrict(self, x_BTD: Tensor, routing: Routing, keep_BE: Tensor, rule: str) -> Routing:
        """``renormalise``: each token's weights over their sum over the kept experts."""
        assert routing.combine_BTE is not None
        return Routing.soft(shared_out(routing.combine_BTE * keep_BE.unsqueeze(1)))

    def expert_parameters(self) -> Mapping[str, int]:
        """What an expert owns of each layer's factors; the columns of the gate are not theirs."""
        return {"first.expert": 0, "second.expert": 0}


def entmax15(logits: Tensor) -> Tensor:
    """p along the last axis, p_i = max(0, z_i / 2 - tau)^2 with tau such that the sum is 1; float32 or wider.

    Exact, by sorting (Peters et al., arXiv 1905.05702, algorithm 2).
    """
    p: Tensor = _Entmax15.apply(logits.to(torch.promote_types(logits.dtype, torch.float32)))
    return p


class _Entmax15(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        half = (logits - logits.amax(-1, keepdim=True)) / 2
        falling = half.sort(-1, descending=True).values
        # With the k largest as support, tau solves sum (z - tau)^2 = 1: a quadratic in tau.
        k = torch.arange(1, half.shape[-1] + 1, dtype=half.dtype, device=half.device)
        mean, square = falling.cumsum(-1) / k, falling.square().cumsum(-1) / k
        tau_k = mean - ((1 / k - (square - mean.square())).clamp(min=0)).sqrt()
        support = (tau_k <= falling).sum(-1, keepdim=True)
        root = (half - tau_k.gather(-1, support - 1)).clamp(min=0)
        ctx.save_for_backward(root)
        return root.square()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """dp_i = root_i (dz_i - the mean of dz weighted by root)."""
        (root,) = ctx.saved_tensors
        weighted = grad * root
        gradient: Tensor = weighted - root * (weighted.sum(-1, keepdim=True) / root.sum(-1, keepdim=True))
        return gradient
