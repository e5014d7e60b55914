"""How many experts each layer keeps, the same for every method that is compared."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from moebench.errors import UsageError


def allocate(usages: Sequence[Tensor], keep: int) -> list[int]:
    """One number a layer, ``keep`` on average: the most used experts of the whole model stay, and one in each layer at
    least (Li et al., arXiv 2310.01334, section 3.1: a global threshold).

    usages: usage_E of each layer. :class:`UsageError` where ``keep`` is not from 1 to E.
    """
    fewest = min(len(usage_E) for usage_E in usages)
    if isinstance(keep, bool) or not isinstance(keep, int) or not 1 <= keep <= fewest:
        raise UsageError(f"{keep} of {fewest} experts cannot be kept; give a number from 1 to {fewest}.")
    # The first of each layer has its place; the others follow by use, of equal ones those of earlier layers.
    others = torch.cat([usage_E.sort(descending=True).values[1:] for usage_E in usages])
    layer_of = torch.cat([torch.full((len(usage_E) - 1,), index) for index, usage_E in enumerate(usages)])
    chosen = others.argsort(descending=True, stable=True)[: (keep - 1) * len(usages)].cpu()
    return [1 + int((layer_of[chosen] == index).sum()) for index in range(len(usages))]
