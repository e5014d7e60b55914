"""Routers, and the choice of experts. Logits and softmax are in float32 or wider, under autocast too."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moevariants.parts import devices


class LinearRouter(nn.Module):
    """logits_BTE = x_BTD weight_DE, the gate of sparse mixtures, drawn as ``nn.Linear`` draws."""

    def __init__(self, dim: int, num_experts: int) -> None:
        super().__init__()
        self.weight_DE = nn.Parameter(torch.empty(dim, num_experts))
        nn.init.uniform_(self.weight_DE, -(dim**-0.5), dim**-0.5)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """The logits, one for each token and expert."""
        return wide_product(x_BTD, self.weight_DE)


class WholeInputRouter(nn.Module):
    """logits_BTE = (mean over tokens of x_BTD) weight_DE: one choice for all tokens of an input (arXiv 2204.10598)."""

    def __init__(self, dim: int, num_experts: int) -> None:
        super().__init__()
        self.linear = LinearRouter(dim, num_experts)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """The logits; a view, of which each input has one row."""
        wide = torch.promote_types(x_BTD.dtype, torch.float32)
        logits_B1E: Tensor = self.linear(x_BTD.mean(1, keepdim=True, dtype=wide))
        return logits_B1E.expand(-1, x_BTD.shape[1], -1)


class SoftRouter(nn.Module):
    """logits_BTS = x_BTD phi_DS for S slots; phi starts normal with deviation 1/sqrt(D).

    ``normalise``: l2norm(x) (scale l2norm(phi)) instead, with a learned scale that starts at 1 (Puigcerver et
    al., arXiv 2308.00951, section 2.3).
    """

    scale: nn.Parameter | None

    def __init__(self, dim: int, slots: int, normalise: bool) -> None:
        super().__init__()
        self.phi_DS = nn.Parameter(torch.empty(dim, slots))
        self.scale = nn.Parameter(torch.ones(())) if normalise else None
        nn.init.normal_(self.phi_DS, std=dim**-0.5)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """The logits, one for each token and slot."""
        if self.scale is None:
            return wide_product(x_BTD, self.phi_DS)
        return wide_product(l2_normalise(x_BTD, axis=-1), self.scale * l2_normalise(self.phi_DS, axis=0))


def wide_product(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b`` in float32, or in float64 where an operand is; autocast is off inside."""
    wide = torch.promote_types(torch.promote_types(a.dtype, b.dtype), torch.float32)
    if not torch.is_autocast_enabled(a.device.type):
        return a.to(wide) @ b.to(wide)
    with torch.autocast(a.device.type, enabled=False):
        return a.to(wide) @ b.to(wide)


def softmax_over_experts(logits_BTE: Tensor) -> Tensor:
    """Softmax over the last axis; below 16 entries by way of another axis, ten times faster on a CPU."""
    if logits_BTE.shape[-1] < 16 and devices.on_cpu(logits_BTE):
        return logits_BTE.mT.softmax(-2).mT
    return logits_BTE.softmax(-1)


def l2_normalise(x: Tensor, axis: int, eps: float = 1e-6) -> Tensor:
    """x / sqrt(sum x^2 + eps) along an axis, in float32 or wider; eps is inside the root."""
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    return x * (x.square().sum(axis, keepdim=True) + eps).rsqrt()


def soft_weights(logits_BTS: Tensor, token_mask_BT: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Dispatch_BTS, a softmax over tokens, and combine_BTS, a softmax over slots; both are 0 at padding."""
    combine_BTS = softmax_over_experts(logits_BTS)
    if token_mask_BT is None:
        return logits_BTS.softmax(1), combine_BTS
    real_BT1 = token_mask_BT.unsqueeze(-1)
    lowest = torch.finfo(logits_BTS.dtype).min
    dispatch_BTS = logits_BTS.masked_fill(~real_BT1, lowest).softmax(1)
    return dispatch_BTS * real_BT1, combine_BTS * real_BT1


@torch.no_grad()
def choose_top_k(logits_BTE: Tensor, top_k: int) -> Tensor:
    """chosen_BTK: the K experts of largest logit, best first; of equal ones the lower index.

    K times argmax, whose rule for ties is documented where topk's is not; a stable sort takes six times as
    long for 64 experts on a CPU. On a GPU topk of numbers without ties.
    """
    if not devices.on_cpu(logits_BTE) and logits_BTE.dtype == torch.float32:
        return _without_ties(logits_BTE).topk(top_k, -1).indices
    left_BTE, picks = logits_BTE, []
    for _ in range(top_k):
        pick_BT1 = left_BTE.argmax(-1, keepdim=True)
        picks.append(pick_BT1)
        left_BTE = left_BTE.scatter(-1, pick_BT1, -torch.inf)
    return torch.cat(picks, -1)


def _without_ties(logits_BTE: Tensor) -> Tensor:
    """Integers in the order of float32 logits, of equal ones the lower index above: the logit's bits, then the index's.

    The bits of a float are in its order once the lower ones of a negative one are flipped.
    """
    bits_BTE = (logits_BTE + 0.0).view(torch.int32)  # -0 becomes 0.
    ordered_BTE = torch.where(bits_BTE < 0, bits_BTE ^ 0x7FFFFFFF, bits_BTE)
    falling_E = torch.arange(logits_BTE.shape[-1] - 1, -1, -1, device=logits_BTE.device)
    return (ordered_BTE.long() << 32) + falling_E


def gate_weights(probability_BTE: Tensor, chosen_BTK: Tensor, renormalise: bool) -> Tensor:
    """weight_BTK: probabilities of the chosen experts, as they are or divided by their sum.

    Renormalising one choice gives the constant 1 and leaves the router without a gradient: refused.
    """
    weight_BTK = probability_BTE.gather(-1, chosen_BTK)
    if not renormalise:
        return weight_BTK
    if chosen_BTK.shape[-1] == 1:
        raise ValueError("renormalising a single choice (K = 1) would leave the router without a gradient")
    return weight_BTK / weight_BTK.sum(-1, keepdim=True)


def shared_out(weight: Tensor) -> Tensor:
    """Weights over their sum along the last axis; all 0 where the sum is."""
    total = weight.sum(-1, keepdim=True)
    return weight / total.where(total > 0, 1.0)
