"""A softmax gate whose use of the experts is kept in bounds: softly, by losses, or hard, by leaving experts out."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from moevariants.parts import devices
from moevariants.parts.gates import Gated, SoftmaxGate
from moevariants.parts.losses import kl_loss
from moevariants.parts.routers import softmax_over_experts

SOFT = ("importance", "kl")
"""The losses of the soft constraints."""


class ConstrainedGate(SoftmaxGate):
    """The K largest of p_BTE = softmax over E, under the constraints of arXiv 2204.10598.

    Soft: the losses named in ``losses``, out of :data:`SOFT`. Hard: in training an expert whose running importance is
    above ``hard`` times the mean over experts is left out, as if it were not there. The importance of an expert in a
    step is its share of all weight that was given; the running one follows it as a mean over about the last ``memory``
    steps, and starts even. What was left out loses importance, so that it comes back. In eval mode nobody is left out.

    At most E / hard experts can be above, so that K are always left where hard >= E / (E - K + 1).
    """

    importance_E: Tensor
    given_E: Tensor

    def __init__(
        self,
        num_experts: int,
        top_k: int,
        *,
        renormalise: bool,
        losses: tuple[str, ...] = (),
        hard: float | None = None,
        memory: int = 10,
    ) -> None:
        plain = tuple(name for name in losses if name != "kl")
        super().__init__(top_k, renormalise=renormalise, losses=plain)
        least = least_hard(num_experts, top_k)
        if hard is not None and hard < least:
            raise ValueError(f"a hard constraint that leaves {top_k} experts is at least {least:.4g}, not {hard:g}")
        self.kl, self.hard, self.memory = "kl" in losses, hard, memory
        self.register_buffer("importance_E", torch.full((num_experts,), 1 / num_experts))
        self.register_buffer("given_E", torch.zeros(num_experts), persistent=False)

    def left_out(self) -> Tensor:
        """over_E: the experts whose running importance is above the threshold."""
        if self.hard is None:
            return torch.zeros_like(self.importance_E, dtype=torch.bool)
        return self.importance_E > self.hard * self.importance_E.mean()

    def forward(self, logits_BTE: Tensor, token_mask_BT: Tensor | None = None) -> Gated:
        """Choose; in training among the experts that are not left out, with losses, and what is given is noted."""
        if not self.training:
            return super().forward(logits_BTE, token_mask_BT)
        if self.hard is not None:
            logits_BTE = logits_BTE.masked_fill(self.left_out(), torch.finfo(logits_BTE.dtype).min)
        gated = super().forward(logits_BTE, token_mask_BT)
        self._note(gated, token_mask_BT)
        if not self.kl:
            return gated
        kl = kl_loss(softmax_over_experts(logits_BTE), token_mask_BT)
        return gated._replace(losses={**gated.losses, "kl": kl})

    @torch.no_grad()
    def after_step(self) -> None:
        """Move the running importance towards the last step's, and forget that one."""
        total = self.given_E.sum()
        share_E = self.given_E / total.where(total > 0, 1.0)
        moved_E = self.importance_E + (share_E - self.importance_E) / self.memory
        self.importance_E.copy_(moved_E.where(total > 0, self.importance_E))
        self.given_E.zero_()

    def _note(self, gated: Gated, token_mask_BT: Tensor | None) -> None:
        weight_BTK = gated.weight_BTK.detach()
        if token_mask_BT is not None:
            weight_BTK = weight_BTK * token_mask_BT.unsqueeze(-1)
        chosen_N, weight_N = gated.chosen_BTK.flatten(), weight_BTK.flatten().to(self.given_E.dtype)
        add_by_expert(self.given_E, chosen_N, weight_N, atomic=devices.on_cpu(weight_N))


def add_by_expert(sum_E: Tensor, chosen_N: Tensor, weight_N: Tensor, *, atomic: bool) -> None:
    """sum_E[chosen_N] += weight_N. atomic: one by one, in an order that varies on a GPU; else as a product."""
    if atomic:
        sum_E.scatter_add_(0, chosen_N, weight_N)
    else:
        sum_E += weight_N @ F.one_hot(chosen_N, len(sum_E)).to(weight_N.dtype)


def least_hard(num_experts: int, top_k: int) -> float:
    """The smallest threshold under which K experts are always left: E / (E - K + 1)."""
    return num_experts / (num_experts - top_k + 1)
