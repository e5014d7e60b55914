"""Lory: for each segment of the tokens one MLP, whose weights are a mean of those of all experts."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from moebench.contract import Context, Layer, LayerShape, Routing, Variant
from moevariants.parts.experts import Experts
from moevariants.parts.routers import LinearRouter, softmax_over_experts
from moevariants.parts.settings import whole


class Lory(Variant):
    """Lory (Zhong et al., arXiv 2405.03133, section 3): soft merging of experts that looks at past tokens alone.

    The tokens fall into segments of ``segment`` tokens. p_BGE = softmax over E of m_BGD W_DE, with m the mean of the
    **previous** segment's tokens; the weights of segment g's MLP are sum over e of p_e theta_e, biases too. The causal
    relative of Soft MoE: all experts get a gradient from all tokens, and no loss balances them. The first segment has
    none before it, so that its p is even; the paper takes its own mean, without a gradient, which looks ahead.

    Settings: ``experts`` E; ``segment`` (None: a quarter of T, or 16 where T is not fixed). Size is the hidden width of
    one expert. Mass: p of a token's segment, T in all. Experts are merged before they work: leaving some out saves next
    to nothing. With E = 1 it is the plain MLP.
    """

    name = "lory"
    revision = "lory_1"
    paper = "https://arxiv.org/abs/2405.03133"
    causal = True
    mass = "exact"
    single_expert = "dense"
    tune = {"experts": (8, 16, 32), "segment": (None,)}

    def build(self, shape: LayerShape, size: int, *, experts: int = 8, segment: int | None = None) -> Layer:
        """One layer of E experts of hidden width ``size``."""
        if segment is None:
            segment = -(-shape.tokens // 4) if shape.tokens else 16
        whole(self, "segment", segment)
        return LoryLayer(shape.dim, Experts(whole(self, "experts", experts), shape, size), segment)


class LoryLayer(Layer):
    """Router, experts, and the merging of their weights."""

    def __init__(self, dim: int, experts: Experts, segment: int) -> None:
        super().__init__()
        self.segment, self.experts = segment, experts
        self.router = LinearRouter(dim, experts.count)

    def route(self, x_BTD: Tensor, context: Context) -> Routing:
        """p of each token's segment; padding has none and no part in means."""
        mask_BT = context.token_mask_BT
        real_BT1 = x_BTD.new_ones(*x_BTD.shape[:2], 1) if mask_BT is None else mask_BT.unsqueeze(-1).to(x_BTD.dtype)
        total_BGD = self._segments(x_BTD.where(real_BT1 > 0, 0)).sum(2)
        count_BG1 = self._segments(real_BT1).sum(2).clamp(min=1)
        previous_BGD = F.pad((total_BGD / count_BG1)[:, :-1], (0, 0, 1, 0))
        share_BGE = softmax_over_experts(self.router(previous_BGD))
        share_BTE = share_BGE.repeat_interleave(self.segment, 1)[:, : x_BTD.shape[1]]
        return Routing.soft(share_BTE * real_BT1)

    def compute(self, x_BTD: Tensor, routing: Routing, keep_BE: Tensor | None = None) -> Tensor:
        """Merge the experts, or the kept ones with the weights that they have, and let each segment through."""
        assert routing.combine_BTE is not None
        # All real tokens of a segment have one p, and those that are none have zeros.
        share_BGE = self._segments(routing.combine_BTE.to(x_BTD.dtype)).amax(2)
        if keep_BE is not None:
            share_BGE = share_BGE * keep_BE.unsqueeze(1)
        w_in, b_in, w_out, b_out = self.experts.stacks.map(lambda stack: _merged(share_BGE, stack))
        hidden_BGLH = self._segments(x_BTD) @ w_in
        hidden_BGLH = self.experts.activate(hidden_BGLH if b_in is None else hidden_BGLH + b_in.unsqueeze(2))
        y_BGLO = hidden_BGLH @ w_out
        y_BGLO = y_BGLO if b_out is None else y_BGLO + b_out.unsqueeze(2)
        return y_BGLO.flatten(1, 2)[:, : x_BTD.shape[1]]

    def router_logits(self, x_BTD: Tensor) -> None:
        """Its logits are of segments, not of tokens."""
        return

    def _segments(self, x_BTD: Tensor) -> Tensor:
        """x_BGLD: tokens in segments, zeros behind the last."""
        num_tokens = x_BTD.shape[1]
        x_BTD = F.pad(x_BTD, (0, 0, 0, -num_tokens % self.segment))
        return x_BTD.reshape(len(x_BTD), -1, self.segment, x_BTD.shape[2])


def _merged(share_BGE: Tensor, stack_E: Tensor) -> Tensor:
    """sum over e of share_e stack_e, for each input and segment."""
    merged: Tensor = share_BGE @ stack_E.flatten(1)
    return merged.view(*share_BGE.shape[:2], *stack_E.shape[1:])
