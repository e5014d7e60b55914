"""Routing whole inputs: one choice of experts for all tokens of an input."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moevariants.parts.routers import LinearRouter


class WholeInputRouter(nn.Module):
    """logits_BTE = (mean over tokens of x_BTD) weight_DE, the same for every token: global average pool, then linear
    (arXiv 2204.10598).

    What an input's tokens agree on is chosen once for all of them, whatever gate follows.
    """

    def __init__(self, dim: int, num_experts: int) -> None:
        super().__init__()
        self.linear = LinearRouter(dim, num_experts)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """The logits; a view, of which each input has one row."""
        wide = torch.promote_types(x_BTD.dtype, torch.float32)
        logits_B1E: Tensor = self.linear(x_BTD.mean(1, keepdim=True, dtype=wide))
        return logits_B1E.expand(-1, x_BTD.shape[1], -1)
