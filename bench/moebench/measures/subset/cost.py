"""What a subset of the experts costs: FLOPs, memory and time of the whole model and of its expert layers."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from moebench.budgets.flops import flops_of
from moebench.hosts.host import Host
from moebench.measures.clock import Spread, in_turns, repeat_to
from moebench.measures.memory import PeakMemory
from moebench.measures.serving import as_served
from moebench.measures.subset.infer import ALL, Subset
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
    they have in the whole model.

    model_flops, layers_flops: per input, a mean over the largest batch, because a sparse layer's work depends on the
    input; on the loop backend. peak_memory_mib: of one forward pass of the largest batch; None where the system does
    not report it. model_ms, layers_ms: by batch size.
    """

    model_flops: float
    layers_flops: float
    peak_memory_mib: float | None
    model_ms: Mapping[int, Spread]
    layers_ms: Mapping[int, Spread]


def costs(
    rivals: Mapping[Name, tuple[Host, Subset]],
    data: Split,
    *,
    batches: Sequence[int] = (1, PAPERS_BATCH),
    precision: str = "fp32",
    rounds: int = ROUNDS,
    repeats: int = REPEATS,
) -> dict[Name, Cost]:
    """The costs of rivals by name, each a way to use a model, on the first inputs of ``data``.

    Times are taken in one process, in turns (A B C C B A): each of ``rounds`` gives a median of ``repeats`` calls, on
    CUDA a mean of more, see :mod:`moebench.measures.clock`, of the models as they are served. Their backend becomes
    their own choice.
    """
    device, largest = data.inputs.device, repeat_to(data.inputs, max(batches))
    models = {id(model): as_served(model, largest, precision) for model, _ in rivals.values()}
    rivals = {name: (models[id(model)], subset) for name, (model, subset) in rivals.items()}
    with ExitStack() as modes:
        for model, _ in rivals.values():
            modes.enter_context(asking(model))
        modes.enter_context(torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"))
        memory = {name: _peak_memory_mib(*rival, largest) for name, rival in rivals.items()}
        work = {name: _TimedUse(*rival, largest).flops() for name, rival in rivals.items()}
        works = {
            batch: {name: _TimedUse(*rival, repeat_to(data.inputs, batch)) for name, rival in rivals.items()}
            for batch in batches
        }
        times = {
            part: {
                batch: in_turns({name: getattr(work, part) for name, work in each.items()}, device, rounds, repeats)
                for batch, each in works.items()
            }
            for part in ("model", "layers")
        }
    return {
        name: Cost(
            *work[name],
            memory[name],
            *({batch: of_batch[name] for batch, of_batch in times[part].items()} for part in ("model", "layers")),
        )
        for name in rivals
    }


def flops_per_input(model: Host, inputs: Tensor, *, precision: str = "fp32") -> tuple[float, float]:
    """FLOPs of the whole model and of its expert layers alone, means over ``inputs``, on the loop backend."""
    with asking(model), torch.autocast(inputs.device.type, torch.bfloat16, enabled=precision == "bf16"):
        return _TimedUse(model, ALL, inputs).flops()


class _TimedUse:
    """One way to use a model on one batch."""

    def __init__(self, model: Host, subset: Subset, x: Tensor) -> None:
        self._model, self._subset, self._x = model, subset, x
        call = subset.call(keep_inputs=True)
        model.run(x, call)
        self._layer_inputs = call.inputs

    def model(self) -> None:
        """The whole model."""
        self._model.run(self._x, self._subset.call())

    def layers(self) -> None:
        """The expert layers alone."""
        self._model.run_layers(self._layer_inputs, self._subset.call())

    def flops(self) -> tuple[float, float]:
        """Of the model and of its layers, per input."""
        whole, layers = (flops_of(self._model, part) / len(self._x) for part in (self.model, self.layers))
        return whole, layers


def _peak_memory_mib(model: Host, subset: Subset, x: Tensor) -> float | None:
    """Of one pass, after one that has made what later passes find made."""
    model.run(x, subset.call())
    with PeakMemory(x.device) as peak:
        model.run(x, subset.call())
    return peak.mib
