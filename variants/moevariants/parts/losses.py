"""Auxiliary losses, raw and unweighted, each 1 (balance) or 0 (CV^2, KL) where the load is perfectly even.

All are means over all tokens of the batch, not over one input: balance inside every input is what prevents
experts from specialising (arXiv 2501.11873). Padding, where ``token_mask_BT`` is False, takes no part.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def balance_loss(
    probability_BTE: Tensor,
    chosen_BTK: Tensor,
    token_mask_BT: Tensor | None = None,
    price_E: Tensor | None = None,
) -> Tensor:
    """E sum_e f_e P_e (Fedus et al., arXiv 2101.03961, equation 4): 1 for an even load, E when collapsed.

    f_e: share of the choices, before drops, that fall on e; P_e: mean probability. Only P has a gradient. price_E: with
    sum_e 1 / price_e in the place of E and price_e f_e P_e in the sum, 1 for loads inverse to the prices.
    """
    num_experts, top_k = probability_BTE.shape[-1], chosen_BTK.shape[-1]
    chose_BTE = torch.zeros_like(probability_BTE).scatter_(-1, chosen_BTK, 1 / top_k)
    share_E, mean_E = _token_mean(chose_BTE, token_mask_BT), _token_mean(probability_BTE, token_mask_BT)
    if price_E is not None:
        return (1 / price_E).sum() * (price_E * share_E * mean_E).sum()
    return num_experts * (share_E * mean_E).sum()  # Not a dot product: autocast would take it to bfloat16.


def active_loss(weight_BTE: Tensor, acts_BTE: Tensor, top_k: int, token_mask_BT: Tensor | None = None) -> Tensor:
    """E / K sum_e f_e w_e (Wang et al., arXiv 2412.14711): the l1 norm of weights, more for busy experts.

    f_e: share of the tokens on which e acts; w_e: mean weight, which alone has a gradient.
    """
    num_experts = weight_BTE.shape[-1]
    share_E = _token_mean(acts_BTE.to(weight_BTE.dtype), token_mask_BT)
    return num_experts / top_k * (share_E * _token_mean(weight_BTE, token_mask_BT)).sum()


def importance_loss(probability_BTE: Tensor, token_mask_BT: Tensor | None = None) -> Tensor:
    """CV^2 over experts of the summed probability, without noise (Shazeer et al., arXiv 1701.06538)."""
    return _squared_variation(_token_mean(probability_BTE, token_mask_BT))


def load_loss(
    logits_BTE: Tensor,
    noisy_BTE: Tensor,
    chosen_BTK: Tensor,
    noise: float,
    token_mask_BT: Tensor | None = None,
) -> Tensor:
    """CV^2 over experts of the probability to be chosen under fresh noise (arXiv 2106.05974, appendix A).

    1 - cdf((threshold - clean logit) / noise), where the threshold is the token's K-th largest noisy logit
    and ``noise`` the deviation of what was added to the logits. Undefined without noise, hence refused.
    """
    if noise <= 0:
        raise ValueError(f"the load loss is undefined without noise on the logits; its deviation is {noise}")
    threshold_BT1 = noisy_BTE.gather(-1, chosen_BTK[..., -1:])
    chance_BTE = torch.special.ndtr((logits_BTE - threshold_BT1) / noise)
    return _squared_variation(_token_mean(chance_BTE, token_mask_BT))


def z_loss(logits_BTE: Tensor, token_mask_BT: Tensor | None = None) -> Tensor:
    """Mean squared logsumexp of the logits (Zoph et al., arXiv 2202.08906, equation 5)."""
    return _token_mean(logits_BTE.logsumexp(-1, keepdim=True).square(), token_mask_BT).squeeze()


def kl_loss(probability_BTE: Tensor, token_mask_BT: Tensor | None = None) -> Tensor:
    """KL(importance || uniform) in nats: log E + sum_e i_e log i_e, where i is the mean probability over all tokens;
    0 for an even load, log E when collapsed (the soft constraint of arXiv 2204.10598).
    """
    mean_E = _token_mean(probability_BTE, token_mask_BT)
    # An expert without any probability adds 0, and its gradient stays a number.
    log_E = mean_E.clamp_min(torch.finfo(mean_E.dtype).tiny).log()
    return math.log(len(mean_E)) + (mean_E * log_E).sum()


def _token_mean(value_BTE: Tensor, token_mask_BT: Tensor | None) -> Tensor:
    """mean_E over the batch's tokens, without padding."""
    if token_mask_BT is None:
        return value_BTE.flatten(0, 1).mean(0)
    total_E = (value_BTE * token_mask_BT.unsqueeze(-1)).sum((0, 1))
    return total_E / token_mask_BT.sum().clamp(min=1)


def _squared_variation(value_E: Tensor) -> Tensor:
    """Population variance over squared mean."""
    return value_E.var(correction=0) / value_E.mean().square()
