"""Drops and coverage of a sparse routing on a data set."""

from __future__ import annotations

import torch
from torch import Tensor

from moebench.hosts.host import Call, Host
from moebench.tasks import Split


def routing_summary(model: Host, data: Split, *, batch: int = 256) -> dict[str, float]:
    """``drop_rate``: share of choices that found no room; ``token_coverage``: share of tokens that some expert took.

    Means over layers that route sparsely; empty where none does.
    """
    drops: list[Tensor] = []
    covered: list[Tensor] = []
    with torch.inference_mode():
        for x_NCHW in data.inputs.split(batch):
            call = Call()
            model.run(x_NCHW, call)
            for routing in call.routings:
                if routing.kept_BTK is not None:
                    drops.append((~routing.kept_BTK).double().mean((1, 2)))
                    covered.append(routing.kept_BTK.any(2).double().mean(1))
    if not drops:
        return {}
    return {"drop_rate": float(torch.cat(drops).mean()), "token_coverage": float(torch.cat(covered).mean())}
