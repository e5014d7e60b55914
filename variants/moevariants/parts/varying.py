"""Layers whose tokens choose different numbers of experts, K on average, and the gates that bring that about.

All E experts are listed for each token, and only those that it wants count: how many these are is never asked.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moevariants.parts.experts import Bank, Experts
from moevariants.parts.gates import Gate, Gated, fair_level
from moevariants.parts.losses import active_loss
from moevariants.parts.sparse import Places, SparseLayer


class VaryingLayer(SparseLayer):
    """A sparse layer whose tokens choose as many experts as they like: K on average, once it is trained."""

    number_settles = True

    def __init__(self, router: nn.Module, gate: Gate, experts: Bank, shared: Experts | None = None) -> None:
        super().__init__(router, gate, experts, Places(), shared)
        self.top_k = None

    def mean_experts_per_token(self) -> float:
        """The K that the gate aims at."""
        return self.gate.top_k


def any_number(weight_BTE: Tensor, wanted_BTE: Tensor) -> Gated:
    """Every token with the experts that it wants, in their order."""
    every_BTE = torch.arange(weight_BTE.shape[-1], device=weight_BTE.device).expand(weight_BTE.shape)
    return Gated(every_BTE, weight_BTE, weight_BTE.detach().amax(-1), {}, wanted_BTE)


LARGEST_SCALE = 1.0
"""Of the loss of a :class:`ReLUGate`: where no weights could make fewer experts act, it must not drown the task's."""


class ReLUGate(Gate):
    """weight_BTE = relu(logits); a token goes to every expert of positive weight (ReMoE, arXiv 2412.14711).

    In training the loss ``sparsity`` = scale x :func:`~moevariants.parts.losses.active_loss`. After each optimiser step
    the scale is multiplied by ``factor`` where more than K experts acted on a token of the step on average, else
    divided by it; it stays below :data:`LARGEST_SCALE`. Padding is not counted.
    """

    scale: Tensor
    acted: Tensor
    tokens: Tensor

    def __init__(self, top_k: int, *, start: float, factor: float, loss: bool) -> None:
        super().__init__()
        self.top_k, self.factor, self.loss = top_k, factor, loss
        self.register_buffer("scale", torch.tensor(start))
        self.register_buffer("acted", torch.zeros(()), persistent=False)
        self.register_buffer("tokens", torch.zeros(()), persistent=False)

    def forward(self, logits_BTE: Tensor, token_mask_BT: Tensor | None = None) -> Gated:
        """The choices; in training with the loss, and counted for the next :meth:`after_step`."""
        weight_BTE = logits_BTE.relu()
        acts_BTE = weight_BTE.detach() > 0
        gated = any_number(weight_BTE, acts_BTE)
        if not self.training:
            return gated
        real_BT = acts_BTE.new_ones(acts_BTE.shape[:2]) if token_mask_BT is None else token_mask_BT
        self.acted += (acts_BTE & real_BT.unsqueeze(-1)).sum()
        self.tokens += real_BT.sum()
        if not self.loss:
            return gated
        loss = active_loss(weight_BTE, acts_BTE, self.top_k, token_mask_BT)
        # Not the buffer itself: it changes before a later backward pass would need it.
        return gated._replace(losses={"sparsity": self.scale.clone() * loss})

    def among(self, logits_BTE: Tensor, keep_BE: Tensor) -> Gated:
        """The kept experts of positive weight: experts do not compete."""
        weight_BTE = logits_BTE.relu() * keep_BE.unsqueeze(1)
        return any_number(weight_BTE, weight_BTE.detach() > 0)

    @torch.no_grad()
    def after_step(self) -> None:
        """Move the scale by what acted since the last step, and forget that."""
        moved = torch.where(self.acted > self.top_k * self.tokens, self.scale * self.factor, self.scale / self.factor)
        self.scale.copy_(moved.clamp(max=LARGEST_SCALE).where(self.tokens > 0, self.scale))
        self.acted.zero_()
        self.tokens.zero_()


class ThresholdGate(Gate):
    """A token goes to every expert whose threshold_E its logit exceeds, weighted by sigmoid(logit) (arXiv 2603.11535).

    After each optimiser step the thresholds follow the logit that floor(N K / E) of the step's N tokens reach: a
    running mean with the weight 1 - ``decay`` for the newest, or 1 / steps while that is more. What a token gets
    depends on earlier steps alone. Padding is not counted.
    """

    threshold_E: Tensor
    steps: Tensor

    def __init__(self, num_experts: int, top_k: int, decay: float) -> None:
        super().__init__()
        self.top_k, self.decay = top_k, decay
        self.register_buffer("threshold_E", torch.zeros(num_experts))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        self._logits_nE: list[Tensor] = []
        """Those of the real tokens since the last step, a tensor for each micro-batch."""

    def forward(self, logits_BTE: Tensor, token_mask_BT: Tensor | None = None) -> Gated:
        """The choices; in training their logits are kept for the next :meth:`after_step`."""
        if self.training:
            detached_BTE = logits_BTE.detach()
            real_nE = detached_BTE.flatten(0, 1) if token_mask_BT is None else detached_BTE[token_mask_BT]
            self._logits_nE.append(real_nE)
        return any_number(logits_BTE.sigmoid(), logits_BTE.detach() > self.threshold_E)

    def among(self, logits_BTE: Tensor, keep_BE: Tensor) -> Gated:
        """The kept experts whose threshold is exceeded: experts do not compete."""
        kept_B1E = keep_BE.unsqueeze(1)
        return any_number(logits_BTE.sigmoid() * kept_B1E, (logits_BTE.detach() > self.threshold_E) & kept_B1E)

    @torch.no_grad()
    def after_step(self) -> None:
        """Move the thresholds towards those of the tokens since the last step, and forget these."""
        level_E = fair_level(self._logits_nE, self.top_k)
        if level_E is None:
            return
        self.steps += 1
        share = torch.clamp(1 / self.steps, min=1 - self.decay)
        self.threshold_E.lerp_(level_E.to(self.threshold_E), share)
