"""Evaluation of a trained model, batch by batch, without gradients; outputs are not kept by default.

N inputs of a part   E experts
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from moebench.hosts.host import AS_IS, Call, Host, Select
from moebench.tasks import Split, Task, Values
from moebench.tasks.sealed import answering

BATCH = 256
"""Inputs a pass, by default."""

MOST_PAIRS = {"cpu": 2**15, "cuda": 2**20}
"""Pairs of an expert and an input in a pass that selects: with more, on a CPU, a layer's slots are memory that the
system hands out anew each time, and a pass over 512 experts takes twice as long.
"""

MORE_ON_CUDA = 16
"""Times as many inputs a pass there, where a small one takes as long as the host needs to start it."""

MOST_NUMBERS = 2**24
"""In the inputs of a pass that is larger than a task asks for."""

Read = Callable[[Values, Split], Values]
"""(outputs by target in float32, the batch that they answer) -> what is kept of it, by name; the first axis is N."""


@dataclass(frozen=True)
class Evaluation:
    """values: what was read, of all inputs, by name. masses: mass_NE of each layer, None for one without experts."""

    values: Mapping[str, Tensor]
    masses: tuple[Tensor | None, ...]


Answer = tuple[Values, list[Tensor | None]]
"""What was read of one batch, and mass_BE of each layer."""


def evaluate(
    model: Host,
    data: Split,
    read: Read,
    *,
    batch: int | None = None,
    precision: str = "fp32",
    select: Select | None = None,
    rule: str = AS_IS,
) -> Evaluation:
    """Pass ``data`` through the model in batches and keep what ``read`` makes of each, and the masses of each layer.

    ``select`` chooses the experts that act, ``rule`` combines them.
    """
    parts = data.batches(batch or _fitting(BATCH, model, data, select))
    return joined(answers(model, parts, read, precision=precision, select=select, rule=rule))


def answers(
    model: Host,
    parts: Iterable[Split],
    read: Read,
    *,
    precision: str = "fp32",
    select: Select | None = None,
    rule: str = AS_IS,
) -> list[Answer]:
    """Of each batch, in their order: the one loop through which a model is asked, scored and audited.

    The model sees inputs alone; ``read`` gets the labels after it has answered.
    """
    found: list[Answer] = []
    with asking(model):
        for part in parts:
            call = Call(select=select, rule=rule)
            outputs = run_pass(model, part, precision, call)
            values = read({name: output.float() for name, output in outputs.items()}, part)
            found.append((values, [routing.mass_BE for routing in call.routings]))
    return found


def joined(found: Sequence[Answer]) -> Evaluation:
    """The answers of consecutive batches as those of all their inputs."""
    values = {name: torch.cat([each[name] for each, _ in found]) for name in found[0][0]}
    return Evaluation(values, tuple(_joined_masses(parts) for parts in zip(*(m for _, m in found), strict=True)))


def run_pass(model: Host, part: Split, precision: str, call: Call) -> Values:
    """The outputs of a batch by target, as the model was trained: its precision, and the groups that it is shown."""
    call.groups_BT = part.groups_NT if model.shows_groups else None
    with answering(), torch.autocast(part.inputs.device.type, torch.bfloat16, enabled=precision == "bf16"):
        return model.run(part.inputs, call)


def outputs_of(outputs: Values, batch: Split) -> Values:
    """A :data:`Read` that keeps the outputs themselves: N x O numbers a target."""
    return outputs


def evaluate_task(
    model: Host,
    task: Task,
    data: Split,
    *,
    precision: str = "fp32",
    select: Select | None = None,
    rule: str = AS_IS,
) -> Evaluation:
    """The values of each input by the name of the task's score."""
    batch = _fitting(task.evaluation_batch, model, data, select)
    return evaluate(model, data, task.scores, batch=batch, precision=precision, select=select, rule=rule)


def mean_loss(model: Host, task: Task, data: Split, *, precision: str = "fp32") -> Tensor:
    """The task's loss on ``data`` without gradients, a scalar on the model's device; no random state changes."""
    total = torch.zeros((), device=data.inputs.device)
    with asking(model):
        for part in data.batches(inputs_a_pass(task.evaluation_batch, data)):
            outputs = run_pass(model, part, precision, Call())
            loss = task.loss({name: output.float() for name, output in outputs.items()}, part)
            total += loss * (len(part) / len(data))
    return total


def headline_of(task: Task, values: Values) -> float:
    """The task's headline, from the values of all inputs of a part."""
    return task.summary(values)[task.info.ranked_by.name]


def inputs_a_pass(batch: int, data: Split) -> int:
    """``batch``, which a task or this module asks for, or more on CUDA."""
    return _pass_on(data.inputs.device.type, batch, data.inputs[:1].numel())


def _pass_on(device: str, batch: int, numbers: int) -> int:
    """numbers: in an input."""
    if device != "cuda":
        return batch
    return max(batch, min(MORE_ON_CUDA * batch, MOST_NUMBERS // max(1, numbers)))


def _fitting(batch: int, model: Host, data: Split, select: Select | None) -> int:
    batch = inputs_a_pass(batch, data)
    if select is None:
        return batch
    experts = max((layer.num_experts for layer in model.layers()), default=0)
    pairs = MOST_PAIRS["cuda" if data.inputs.device.type == "cuda" else "cpu"]
    return max(1, min(batch, pairs // max(1, experts)))


@contextmanager
def asking(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; the mode the model was in comes back, whatever happens."""
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(training)


def _joined_masses(parts: tuple[Tensor | None, ...]) -> Tensor | None:
    present = [part.float() for part in parts if part is not None]
    return torch.cat(present) if present else None
