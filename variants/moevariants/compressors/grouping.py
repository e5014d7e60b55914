"""Which experts become one (Li et al., arXiv 2310.01334, section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor

from moebench.measures.compression import Met
from moevariants.parts.sparse import SparseLayer


@torch.no_grad()
def dominant_of(layer: SparseLayer, met: Met, keep: int) -> Tensor:
    """dominant_E: for each expert the one that it joins, itself for the ``keep`` most used.

    The others join the dominant one whose router logits over the tokens that were met point the same way as theirs, by
    the cosine; of equal ones the lower index.
    """
    usage_E = met.usage_E
    dominant_G = usage_E.argsort(descending=True, stable=True)[:keep].sort().values
    logits_NE = layer.router(met.x_BTD).flatten(0, 1).double()
    unit_NE = logits_NE / logits_NE.norm(dim=0).clamp_min(torch.finfo(torch.float64).tiny)
    nearest_E = dominant_G[(unit_NE.mT @ unit_NE[:, dominant_G]).argmax(1)]
    return nearest_E.scatter(0, dominant_G, dominant_G)


def numbered(dominant_E: Tensor) -> tuple[Tensor, Tensor]:
    """(dominant_G, group_E): the experts that stay, in order, and the place among them that each expert's has."""
    dominant_G, group_E = torch.unique(dominant_E, return_inverse=True)
    return dominant_G, group_E
