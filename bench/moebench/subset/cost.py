"""What a subset of the experts costs: FLOPs, memory and time of the whole model and of its expert layers."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from torch import Tensor

from moebench.budgets.flops import flops_of
from moebench.hosts.host import AS_IS, Host
from moebench.measure.batch import repeat_to
from moebench.measure.clock import Part, Spread, in_turns
from moebench.measure.memory import PeakMemory
from moebench.subset.infer import ALL, Subset, experts_of, subset_of
from moebench.subset.scores import PAPERS
from moebench.tasks import Split
from moebench.training.evaluate import asking

PAPERS_BATCH = 100
"""Beside 1, the batch of the paper's timing (arXiv 2409.00879)."""

ROUNDS = 10
REPEATS = 5

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class Cost:
    """One way to use a model. ``layers``: route, selection and compute of the expert layers alone, on the inputs that
    they meet in the whole model.

    model_flops, layers_flops: per input, a mean over the largest batch, because a sparse layer's work depends on the
    input; on the loop backend. peak_memory_mib: of one forward pass of the largest batch; None where the system does
    not tell. model_ms, layers_ms: by batch size.
    """

    model_flops: float
    layers_flops: float
    peak_memory_mib: float | None
    model_ms: Mapping[int, Spread]
    layers_ms: Mapping[int, Spread]


def costs_by_number(
    model: Host,
    data: Split,
    numbers: Sequence[int],
    *,
    score: str = PAPERS,
    rule: str = AS_IS,
    fitted: Sequence[Tensor] | None = None,
    batches: Sequence[int] = (1, PAPERS_BATCH),
    precision: str = "fp32",
    rounds: int = ROUNDS,
    repeats: int = REPEATS,
) -> dict[int, Cost]:
    """The costs of keeping so many experts, by their number; E is the whole model, which chooses nothing.

    Other arguments and errors as in :func:`moebench.subset.infer.subset_inference` and :func:`costs`.
    """
    experts = experts_of(model)
    subsets = {k: ALL if k == experts else subset_of(model, k, score=score, rule=rule, fitted=fitted) for k in numbers}
    return costs(model, data, subsets, batches=batches, precision=precision, rounds=rounds, repeats=repeats)


def costs(
    model: Host,
    data: Split,
    subsets: Mapping[Name, Subset],
    *,
    batches: Sequence[int] = (1, PAPERS_BATCH),
    precision: str = "fp32",
    rounds: int = ROUNDS,
    repeats: int = REPEATS,
) -> dict[Name, Cost]:
    """The costs of rival ways to use one model, by name, on the first inputs of ``data``.

    Times are taken in one process and in turns (A B C C B A): each of ``rounds`` gives a median of ``repeats`` calls.
    The model's backend becomes its own choice.
    """
    device = data.inputs.device
    with asking(model), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        memory = {
            name: _peak_memory_mib(model, each, repeat_to(data.inputs, max(batches))) for name, each in subsets.items()
        }
        rivals = {
            batch: {name: _Rival(model, subset, repeat_to(data.inputs, batch)) for name, subset in subsets.items()}
            for batch in batches
        }
        largest = rivals[max(batches)]
        flops = {name: (rival.flops(rival.model), rival.flops(rival.layers)) for name, rival in largest.items()}
        model_ms = {batch: in_turns(_named(each, "model"), device, rounds, repeats) for batch, each in rivals.items()}
        layers_ms = {batch: in_turns(_named(each, "layers"), device, rounds, repeats) for batch, each in rivals.items()}
    return {
        name: Cost(
            *flops[name],
            memory[name],
            {batch: model_ms[batch][name] for batch in batches},
            {batch: layers_ms[batch][name] for batch in batches},
        )
        for name in subsets
    }


class _Rival:
    """One way to use the model on one batch."""

    def __init__(self, model: Host, subset: Subset, x_NCHW: Tensor) -> None:
        self._model, self._subset, self._x = model, subset, x_NCHW
        call = subset.call(keep_inputs=True)
        model.run(x_NCHW, call)
        self._layer_inputs = call.inputs

    def model(self) -> None:
        """The whole model."""
        self._model.run(self._x, self._subset.call())

    def layers(self) -> None:
        """The expert layers alone."""
        self._model.run_layers(self._layer_inputs, self._subset.call())

    def flops(self, part: Part) -> float:
        """Per input."""
        return flops_of(self._model, part) / len(self._x)


def _peak_memory_mib(model: Host, subset: Subset, x_NCHW: Tensor) -> float | None:
    """Of one pass, after one that has made what later passes find made."""
    model.run(x_NCHW, subset.call())
    with PeakMemory(x_NCHW.device) as peak:
        model.run(x_NCHW, subset.call())
    return peak.mib


def _named(rivals: Mapping[Name, _Rival], part: Literal["model", "layers"]) -> dict[Name, Part]:
    return {name: getattr(rival, part) for name, rival in rivals.items()}
