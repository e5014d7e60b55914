"""Drops and coverage of a sparse routing on a data set."""

from __future__ import annotations

import torch
from torch import Tensor

from moebench.hosts.host import Call, Host
from moebench.tasks import Split
from moebench.training.evaluate import asking


def routing_summary(model: Host, data: Split, *, batch: int = 256) -> dict[str, float]:
    """``drop_rate``: share of choices without room; ``token_coverage``: share of tokens that an expert took.

    Means over the inputs and the layers that route sparsely; empty where none does.
    """
    drops: list[Tensor] = []
    covered: list[Tensor] = []
    with asking(model):
        for part in data.batches(batch):
            call = Call()
            model.run(part.inputs, call)
            for routing in call.routings:
                if routing.drop_rate_B is not None and routing.coverage_B is not None:
                    drops.append(routing.drop_rate_B)
                    covered.append(routing.coverage_B)
    if not drops:
        return {}
    return {"drop_rate": float(torch.cat(drops).mean()), "token_coverage": float(torch.cat(covered).mean())}
