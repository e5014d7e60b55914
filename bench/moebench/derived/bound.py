"""What the machine's roofline allows a model's expert layers, for a subset of the experts and a batch."""

from __future__ import annotations

from torch import Tensor

from moebench.contract import Layer
from moebench.hosts.host import Host, Select, Visit
from moebench.measure.roofline import Roofline
from moebench.subset.infer import Subset
from moebench.training.evaluate import asking


def bound_ms(model: Host, subset: Subset, x: Tensor, flops: float, machine: Roofline) -> float:
    """Milliseconds below which the layers cannot go: their ``flops`` for this batch, or reading once every weight that
    the batch needs, those of experts that some input keeps and those that belong to none.
    """
    visits: list[tuple[Layer, Tensor | None]] = []
    call = subset.call()
    call.select = _noting(subset.select, visits)
    with asking(model):
        model.run(x, call)
    return machine.bound_ms(flops, sum(_bytes(layer, keep_BE) for layer, keep_BE in visits))


def _noting(select: Select | None, visits: list[tuple[Layer, Tensor | None]]) -> Select:
    def noted(visit: Visit) -> Tensor | None:
        keep_BE = select(visit) if select else None
        visits.append((visit.layer, keep_BE))
        return keep_BE

    return noted


def _bytes(layer: Layer, keep_BE: Tensor | None) -> float:
    """Of the parameters that are read."""
    axes, total = layer.expert_parameters(), 0.0
    busy = 1.0 if keep_BE is None else float(keep_BE.any(0).sum()) / layer.num_experts
    for name, parameter in layer.named_parameters():
        total += parameter.numel() * parameter.element_size() * (busy if name in axes else 1.0)
    return total
