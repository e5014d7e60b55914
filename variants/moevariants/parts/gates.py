"""From a router's logits to the experts that each token goes to, and with which weights.

A gate is called with logits_BTE and gives a :class:`Gated`. :meth:`Gate.among` chooses anew among a subset of the
experts, without noise and losses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from moevariants.parts.losses import balance_loss, importance_loss, load_loss, z_loss
from moevariants.parts.routers import choose_top_k, gate_weights, shared_out, softmax_over_experts

LOSSES = ("balance", "importance", "load", "z")
"""The auxiliary losses of a softmax gate."""


class Gated(NamedTuple):
    """chosen_BTK: experts, best first. weight_BTK: of each choice. priority_BT: a token's claim on places.

    losses: auxiliary losses by name, in training. wanted_BTK: where tokens choose different numbers of experts, False
    for those of the K that a token does not choose; None: all.
    """

    chosen_BTK: Tensor
    weight_BTK: Tensor
    priority_BT: Tensor
    losses: Mapping[str, Tensor]
    wanted_BTK: Tensor | None = None


class Gate(nn.Module):
    """What all gates have. ``top_k``: K."""

    top_k: int

    def forward(self, logits_BTE: Tensor, token_mask_BT: Tensor | None = None) -> Gated:
        """The choices; in training with noise and losses, where the gate has them. Padding takes no part in losses."""
        raise NotImplementedError

    def among(self, logits_BTE: Tensor, keep_BE: Tensor) -> Gated:
        """The choices as if there were only the kept experts, without noise and losses.

        Where fewer than K are kept, a token's last choices are of others, and do not count.
        """
        raise NotImplementedError

    def after_step(self) -> None:
        """Called once after each optimiser step."""


class SoftmaxGate(Gate):
    """The K largest of p_BTE = softmax over E (logits + N(0, 1) noise_std / E in training), see ``SparseTopK``.

    losses: the names of those with a weight, out of :data:`LOSSES`.
    """

    def __init__(self, top_k: int, *, renormalise: bool, noise_std: float = 0.0, losses: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.top_k, self.renormalise, self.noise_std, self.losses = top_k, renormalise, noise_std, losses

    def forward(self, logits_BTE: Tensor, token_mask_BT: Tensor | None = None) -> Gated:
        """Noise in training only; the losses are those of the probabilities without it."""
        noise = self.noise_std / logits_BTE.shape[-1] if self.training else 0.0
        noisy_BTE = logits_BTE + noise * torch.randn_like(logits_BTE) if noise else logits_BTE
        chosen_BTK = choose_top_k(noisy_BTE, self.top_k)
        probability_BTE = softmax_over_experts(noisy_BTE)
        clean_BTE = softmax_over_experts(logits_BTE) if noise else probability_BTE
        losses = {
            "balance": lambda: balance_loss(clean_BTE, chosen_BTK, token_mask_BT),
            "importance": lambda: importance_loss(clean_BTE, token_mask_BT),
            "load": lambda: load_loss(logits_BTE, noisy_BTE, chosen_BTK, noise, token_mask_BT),
            "z": lambda: z_loss(logits_BTE, token_mask_BT),
        }
        wanted = self.losses if self.training else ()
        return self._gated(probability_BTE, chosen_BTK, {name: losses[name]() for name in wanted})

    def among(self, logits_BTE: Tensor, keep_BE: Tensor) -> Gated:
        """Softmax and choice over the logits of the kept experts."""
        logits_BTE = logits_BTE.masked_fill(~keep_BE.unsqueeze(1), torch.finfo(logits_BTE.dtype).min)
        return self._gated(softmax_over_experts(logits_BTE), choose_top_k(logits_BTE, self.top_k), {})

    def _gated(self, probability_BTE: Tensor, chosen_BTK: Tensor, losses: Mapping[str, Tensor]) -> Gated:
        weight_BTK = gate_weights(probability_BTE, chosen_BTK, self.renormalise)
        return Gated(chosen_BTK, weight_BTK, probability_BTE.detach().amax(-1), losses)


class SigmoidGate(Gate):
    """Balanced without a loss (DeepSeek-V3, arXiv 2412.19437, section 2.1.2; arXiv 2408.15664).

    s_BTE = sigmoid(logits); the K largest of s + bias_E are chosen; their weights are s over the sum of the chosen,
    the bias playing no part. After each optimiser step an expert with more tokens than the mean since the last one
    gets ``rate`` less bias, one with fewer ``rate`` more; then the mean of all is taken away. Padding is not counted.
    """

    bias_E: Tensor
    counts_E: Tensor

    def __init__(self, num_experts: int, top_k: int, rate: float) -> None:
        super().__init__()
        if top_k < 2 <= num_experts:
            raise ValueError(f"a gate whose weights sum to 1 needs top_k of at least 2 to learn, not {top_k}")
        self.top_k, self.rate = top_k, rate
        self.register_buffer("bias_E", torch.zeros(num_experts))
        self.register_buffer("counts_E", torch.zeros(num_experts), persistent=False)

    def forward(self, logits_BTE: Tensor, token_mask_BT: Tensor | None = None) -> Gated:
        """Choose; in training the choices are counted for the next :meth:`after_step`."""
        gated = self._gated(logits_BTE, None)
        if self.training:
            real_BTK = torch.ones_like(gated.weight_BTK.detach())
            if token_mask_BT is not None:
                real_BTK = real_BTK * token_mask_BT.unsqueeze(-1)
            # Not scatter_add_ into E numbers: on a GPU all choices would wait for each other there.
            chose_BTE = real_BTK.new_zeros(logits_BTE.shape).scatter_(-1, gated.chosen_BTK, real_BTK)
            self.counts_E += chose_BTE.sum((0, 1)).to(self.counts_E.dtype)
        return gated

    def among(self, logits_BTE: Tensor, keep_BE: Tensor) -> Gated:
        """The kept experts of largest s + bias."""
        return self._gated(logits_BTE, keep_BE)

    @torch.no_grad()
    def after_step(self) -> None:
        """Move the bias by the load since the last step, and forget that load."""
        self.bias_E += self.rate * (self.counts_E.mean() - self.counts_E).sign()
        self.bias_E -= self.bias_E.mean()
        self.counts_E.zero_()

    def _gated(self, logits_BTE: Tensor, keep_BE: Tensor | None) -> Gated:
        score_BTE = logits_BTE.sigmoid()
        ranked_BTE = score_BTE.detach() + self.bias_E
        if keep_BE is not None:
            ranked_BTE = ranked_BTE.masked_fill(~keep_BE.unsqueeze(1), -torch.inf)
            score_BTE = score_BTE * keep_BE.unsqueeze(1)
        chosen_BTK = choose_top_k(ranked_BTE, self.top_k)
        weight_BTK = shared_out(score_BTE.gather(-1, chosen_BTK))
        return Gated(chosen_BTK, weight_BTK, score_BTE.detach().amax(-1), {})


class QuantileGate(Gate):
    """Balanced by the quantiles of the last batch (J. Su, kexue.fm/archives/11619; report of Kimi K3, section 2.3.3).

    N tokens of a training step; the K experts of largest logit + bias_E are chosen, weighted by sigmoid(logit), over
    their sum where ``renormalise``; the bias plays no part in weights. After a step, with alpha_n the (K+1)-th largest
    of token n's logit + bias and q = floor(N K / E): bias_e = -(the q-th largest over n of logit[n, e] - alpha_n), less
    the mean over experts. It replaces the last bias. At each expert q tokens then reach their alpha_n; as alpha_n moves
    with the bias, loads of two experts are even after one step, those of more after several. Padding is not counted;
    nothing is kept in evaluation. With K = E nothing is to be balanced.
    """

    bias_E: Tensor

    def __init__(self, num_experts: int, top_k: int, *, renormalise: bool) -> None:
        super().__init__()
        self.top_k, self.renormalise = top_k, renormalise
        self.register_buffer("bias_E", torch.zeros(num_experts))
        self._margins_nE: list[Tensor] = []
        """logit - alpha of the real tokens since the last step, a tensor for each micro-batch."""

    def forward(self, logits_BTE: Tensor, token_mask_BT: Tensor | None = None) -> Gated:
        """Choose; in training keep what the next :meth:`after_step` needs."""
        detached_BTE = logits_BTE.detach()
        more = self.top_k + (self.training and self.top_k < len(self.bias_E))
        chosen_BTK = choose_top_k(detached_BTE + self.bias_E, more)
        if more > self.top_k:
            next_BT1 = chosen_BTK[..., self.top_k :]
            alpha_BT1 = detached_BTE.gather(-1, next_BT1) + self.bias_E[next_BT1]
            margin_BTE = detached_BTE - alpha_BT1
            self._margins_nE.append(margin_BTE.flatten(0, 1) if token_mask_BT is None else margin_BTE[token_mask_BT])
        return self._gated(logits_BTE.sigmoid(), chosen_BTK[..., : self.top_k])

    def among(self, logits_BTE: Tensor, keep_BE: Tensor) -> Gated:
        """The kept experts of largest logit + bias."""
        keep_B1E = keep_BE.unsqueeze(1)
        ranked_BTE = (logits_BTE.detach() + self.bias_E).masked_fill(~keep_B1E, -torch.inf)
        return self._gated(logits_BTE.sigmoid() * keep_B1E, choose_top_k(ranked_BTE, self.top_k))

    @torch.no_grad()
    def after_step(self) -> None:
        """Put the bias of the tokens since the last step in the place of the old one, and forget these tokens."""
        beta_E = fair_level(self._margins_nE, self.top_k)
        if beta_E is not None:
            self.bias_E.copy_(beta_E.mean() - beta_E)

    def _gated(self, score_BTE: Tensor, chosen_BTK: Tensor) -> Gated:
        weight_BTK = score_BTE.gather(-1, chosen_BTK)
        if self.renormalise:
            weight_BTK = shared_out(weight_BTK)
        return Gated(chosen_BTK, weight_BTK, score_BTE.detach().amax(-1), {})


def fair_level(parts_nE: list[Tensor], top_k: int) -> Tensor | None:
    """value_E: what floor(N K / E) of a step's N tokens reach at each expert, at least one; None without tokens.

    parts_nE: the tokens of each micro-batch, which are forgotten.
    """
    if not parts_nE:
        return None
    value_EN = torch.cat(parts_nE).mT.contiguous()
    parts_nE.clear()
    num_experts, num_tokens = value_EN.shape
    if not num_tokens:
        return None
    quota = max(1, num_tokens * top_k // num_experts)
    return value_EN.kthvalue(num_tokens - quota + 1).values
