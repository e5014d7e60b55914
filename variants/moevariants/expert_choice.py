"""Expert choice: each expert takes the tokens that suit it best, so that every expert has as many."""

from __future__ import annotations

import torch
from torch import Tensor

from moebench.contract import Context, Layer, LayerShape, Routing, Variant
from moevariants.parts.devices import in_product_type
from moevariants.parts.dispatch import capacity, capacity_of_real
from moevariants.parts.experts import Experts
from moevariants.parts.routers import LinearRouter, softmax_over_experts
from moevariants.parts.rows import add_up, plan_rows, take
from moevariants.parts.settings import number, whole, wrong


class ExpertChoice(Variant):
    """Expert choice routing (Zhou et al., arXiv 2202.09368, section 3.2), within each input.

    p_BTE = softmax over E of x_BTD W_DE; expert e takes the c = min(T, ceil(T capacity / E)) tokens of largest
    p_BTE[:, :, e], of equal ones the earlier; y_BTO = sum over the experts that took a token of p f_e(x). A token may
    be taken by none or by all. Balanced by construction: no auxiliary loss. Padding is never taken, and is not in T.

    Settings: ``experts`` E; ``capacity``, how many experts a token has on average. Size is the hidden width of one
    expert. Mass: the weights of taken tokens, T at most. Which tokens an expert takes depends on all: not causal. With
    E = 1 the expert takes every token with weight 1: the plain MLP.
    """

    name = "expert_choice"
    revision = "f66f970fc9034a999cc9"
    paper = "https://arxiv.org/abs/2202.09368"
    separable = True
    mass = "at_most"
    single_expert = "dense"
    token_equivariant = True
    tune = {"experts": (8, 16, 32, 64)}

    def build(self, shape: LayerShape, size: int, *, experts: int = 8, capacity: float = 2.0) -> Layer:
        """One layer of E experts of hidden width ``size``."""
        if number(self, "capacity", capacity) == 0:
            raise wrong(self, "capacity", capacity, "a factor above 0")
        return ExpertChoiceLayer(shape, whole(self, "experts", experts), size, float(capacity))


class ExpertChoiceLayer(Layer):
    """Router, choice by experts, experts."""

    def __init__(self, shape: LayerShape, num_experts: int, hidden: int, factor: float) -> None:
        super().__init__()
        self.factor, self.tokens = factor, shape.tokens
        self.router = LinearRouter(shape.dim, num_experts)
        self.experts = Experts(num_experts, shape, hidden)

    def route(self, x_BTD: Tensor, context: Context) -> Routing:
        """Which tokens each expert takes, and with which weights."""
        token_mask_BT = context.token_mask_BT
        probability_BET = softmax_over_experts(self.router(x_BTD)).mT
        score_BET, num_tokens = probability_BET.detach(), x_BTD.shape[1]
        if token_mask_BT is not None:
            score_BET = score_BET.masked_fill(~token_mask_BT.unsqueeze(1), -1.0)
        order_BET = score_BET.sort(dim=2, descending=True, stable=True).indices
        taken_BEc = order_BET[:, :, : self._places(num_tokens)]
        weight_BEc = probability_BET.gather(2, taken_BEc)
        if token_mask_BT is not None:
            # Only the places that the input's real tokens have count.
            limit_B1 = capacity_of_real(token_mask_BT, 1, self.num_experts, self.factor)
            in_limit_Bc = torch.arange(taken_BEc.shape[2], device=token_mask_BT.device) < limit_B1
            weight_BEc = weight_BEc * in_limit_Bc.unsqueeze(1)
        return Routing.by_expert(taken_BEc, weight_BEc, tokens=num_tokens)

    def compute(self, x_BTD: Tensor, routing: Routing, keep_BE: Tensor | None = None) -> Tensor:
        """Rows of every expert's tokens, input by input, or of the kept experts alone; then each token's sum."""
        assert routing.taken_BEc is not None
        assert routing.weight_BEc is not None
        (num_inputs, num_tokens, dim), places = x_BTD.shape, routing.taken_BEc.shape[2]
        first_B11 = torch.arange(num_inputs, device=x_BTD.device).view(-1, 1, 1) * num_tokens
        token_EBc = (first_B11 + routing.taken_BEc).transpose(0, 1)
        weight_EBc, x_ND = routing.weight_BEc.transpose(0, 1), in_product_type(x_BTD.flatten(0, 1))
        if keep_BE is not None:
            token_EBc, weight_EBc = token_EBc[keep_BE.t()], weight_EBc[keep_BE.t()]
        taken = plan_rows(token_EBc.flatten(), len(x_ND))
        rows_MD = take(x_ND, taken)
        if keep_BE is None:
            slots_EnD = rows_MD.view(self.num_experts, num_inputs * places, dim)
            rows_MO = self.experts.forward_slots(slots_EnD).flatten(0, 1)
        else:
            rows_MO = self.experts.forward_rows(rows_MD, keep_BE.sum(0) * places, num_inputs * places)
        weight_M1 = weight_EBc.flatten().unsqueeze(1).to(rows_MO.dtype)
        y_NO = add_up(rows_MO * weight_M1, taken)
        return y_NO.view(num_inputs, num_tokens, -1)

    def router_logits(self, x_BTD: Tensor) -> Tensor:
        """logits_BTE of the router."""
        logits_BTE: Tensor = self.router(x_BTD)
        return logits_BTE

    def mean_experts_per_token(self) -> float:
        """E c / T; the capacity where T is not known, or is a multiple of E."""
        if self.tokens is None:
            return min(self.factor, self.num_experts)
        return self.num_experts * self._places(self.tokens) / self.tokens

    def _places(self, num_tokens: int) -> int:
        return capacity(num_tokens, 1, self.num_experts, self.factor)
