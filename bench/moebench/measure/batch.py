"""A batch of a given size from as many inputs as there are."""

from __future__ import annotations

import torch
from torch import Tensor


def repeat_to(tensor: Tensor, count: int) -> Tensor:
    """The first ``count`` entries, from the beginning again where there are fewer."""
    return tensor[torch.arange(count, device=tensor.device) % len(tensor)]
