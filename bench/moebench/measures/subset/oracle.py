"""How good the best subset could be: every subset of k experts is tried, with the label known."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from moebench.errors import UsageError
from moebench.hosts.host import AS_IS, Host
from moebench.measures.subset.infer import experts_of
from moebench.measures.subset.select import fixed, number_of
from moebench.tasks import Split, Task, Values
from moebench.training.evaluate import evaluate

MOST_SUBSETS = 2000
PERMUTATIONS = 5


@dataclass(frozen=True)
class Oracle:
    """share: of the inputs that at least one subset classifies right. null: the same search for shuffled labels,
    which says how much of the share is the number of tries; a mean over ``PERMUTATIONS`` fixed permutations.
    """

    share: float
    null: float
    subsets: int
    inputs: int


def oracle(
    model: Host,
    task: Task,
    data: Split,
    k: int,
    *,
    rule: str = AS_IS,
    precision: str = "fp32",
    batch: int | None = None,
) -> Oracle:
    """Try all C(E, k) subsets on every input of ``data``, in every layer the same one; a pass for each subset.

    An upper bound on any score that chooses k experts once for an input. :class:`UsageError` where k is not from 1
    to E, where there are more than 2,000 subsets, and where the task has no class for each input.
    """
    target = class_target(task)
    experts = experts_of(model)
    number_of(k, experts)
    subsets = math.comb(experts, k)
    if subsets > MOST_SUBSETS:
        raise UsageError(
            f"{k} of {experts} experts make {subsets:,} subsets; the exhaustive search takes at most {MOST_SUBSETS:,}."
        )
    labels_LN = torch.stack([data.targets[target], *_shuffled(data.targets[target])])
    hit_LN = torch.zeros_like(labels_LN, dtype=torch.bool)

    def read(outputs: Values, part: Split) -> Values:
        return {"answer": outputs[target].argmax(1)}

    for kept in itertools.combinations(range(experts), k):
        found = evaluate(model, data, read, batch=batch, precision=precision, select=fixed(kept), rule=rule)
        hit_LN |= found.values["answer"] == labels_LN
    share, *by_chance = hit_LN.double().mean(1).tolist()
    return Oracle(share, sum(by_chance) / PERMUTATIONS, subsets, len(data))


def class_target(task: Task) -> str:
    """The target that is the one class of an input; :class:`UsageError` where the task has none."""
    if task.class_target is None:
        raise UsageError(f"task '{task.info.name}' cannot be measured so: {task.no_class}.")
    return task.class_target


def _shuffled(target_N: Tensor) -> list[Tensor]:
    """The labels in fixed other orders, the same on every device."""
    generator = torch.Generator().manual_seed(0)
    orders = [torch.randperm(len(target_N), generator=generator) for _ in range(PERMUTATIONS)]
    return [target_N[order.to(target_N.device)] for order in orders]
