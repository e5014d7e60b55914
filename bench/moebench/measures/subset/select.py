"""Which experts act: functions from a visit to ``keep_BE``, decided inside the layer, for each input."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from moebench.errors import UsageError
from moebench.hosts.host import Select, Visit
from moebench.measures.subset.scores import Score


def largest(score: Score, count: int | float) -> Select:
    """The experts of largest score for each input. count: an int is a number of experts, a float a share of E."""

    def select(visit: Visit) -> Tensor:
        score_BE = score(visit)
        return keep_largest(score_BE, count if isinstance(count, int) else round(count * score_BE.shape[1]))

    return select


def check_kept(k: object, experts: int) -> None:
    """:class:`UsageError` if k is not one of 1 to E."""
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= experts:
        raise UsageError(
            f"{k} of {experts} experts cannot be kept; give a number from 1 to {experts}.",
            code="cannot-keep",
            k=k,
            experts=experts,
        )


def fixed(experts: Sequence[int]) -> Select:
    """These experts, for every input and in every layer."""

    def select(visit: Visit) -> Tensor:
        keep_BE = nothing(visit)
        keep_BE[:, list(experts)] = True
        return keep_BE

    return select


def nothing(visit: Visit) -> Tensor:
    """No expert acts; residuals and always-on parts do."""
    return visit.x_BTD.new_zeros(len(visit.x_BTD), visit.layer.num_experts, dtype=torch.bool)


def all_but(layer: int, expert: int) -> Select:
    """Every expert but one, in one layer."""

    def select(visit: Visit) -> Tensor | None:
        if visit.index != layer:
            return None
        keep_BE = ~nothing(visit)
        keep_BE[:, expert] = False
        return keep_BE

    return select


def keep_largest(score_BE: Tensor, k: int) -> Tensor:
    """True for the k largest scores of each input; of equal scores the first expert's, on every device."""
    order_BE = score_BE.argsort(dim=1, descending=True, stable=True)
    keep_BE = torch.zeros_like(score_BE, dtype=torch.bool)
    return keep_BE.scatter_(1, order_BE[:, :k], True)
