"""The best subset of experts: every subset is tried with the label known, and again for shuffled labels."""

from __future__ import annotations

import itertools
import math

import torch

from moebench.errors import UsageError
from moebench.hosts.host import Host
from moebench.measures.scores.final import Scores
from moebench.measures.subject import Subject
from moebench.measures.subset.infer import ALL, experts_of, subset_of
from moebench.measures.subset.select import fixed
from moebench.tasks import Split, Task, Values
from moebench.training.evaluate import evaluate

SHARE = 4
"""The paper searches all subsets of E/4 experts."""

MOST_SUBSETS = 2000
PERMUTATIONS = 5


def best_subset(subject: Subject, *, most_experts: int, inputs: int) -> Scores:
    """At k = E/4, on the first so many test inputs: what the best subset gets right, the same search for shuffled
    labels, and, on the same inputs, all experts, the paper's score and a random subset.
    """
    experts, whole, scores = experts_of(subject.model), subject.data("test"), Scores()
    names = ("oracle", "oracle_null", "all", "selected", "random")
    if experts > most_experts or experts < SHARE:
        for name in names:
            scores.put(name, None, f"{experts} experts; the search is made for {SHARE} to {most_experts}")
        return scores
    k, precision = experts // SHARE, subject.precision
    data = whole[:inputs]
    share, null = oracle(subject.model, subject.task, data, k, precision=precision)
    scores.put("oracle", share)
    scores.put("oracle_null", null)
    selected, random = subset_of(subject.model, k), subset_of(subject.model, k, score="random")
    for name, chosen in {"all": ALL, "selected": selected, "random": random}.items():
        scores.put(name, chosen.score(subject.model, subject.task, data, precision=precision))
    return scores


def oracle(model: Host, task: Task, data: Split, k: int, *, precision: str = "fp32") -> tuple[float, float]:
    """Try all C(E, k) subsets on every input of ``data``, in every layer the same one; a pass for each subset.

    Returns the share of the inputs that at least one subset classifies right, an upper bound on any score that chooses
    k experts once for an input; and its null, the same share for shuffled labels, which is due to the number of tries:
    a mean over ``PERMUTATIONS`` fixed permutations. :class:`UsageError` where there are more than 2,000 subsets, and
    where the task has no class for each input.
    """
    target, experts = class_target(task), experts_of(model)
    subsets = math.comb(experts, k)
    if subsets > MOST_SUBSETS:
        raise UsageError(
            f"{k} of {experts} experts make {subsets:,} subsets; the exhaustive search takes at most {MOST_SUBSETS:,}.",
            code="too-many-subsets",
            subsets=subsets,
        )
    label_N = data.targets[target]
    generator = torch.Generator().manual_seed(0)  # on the CPU: the same permutations on every device
    orders = [torch.randperm(len(label_N), generator=generator) for _ in range(PERMUTATIONS)]
    labels_LN = torch.stack([label_N, *(label_N[order.to(label_N.device)] for order in orders)])
    hit_LN = torch.zeros_like(labels_LN, dtype=torch.bool)

    def read(outputs: Values, part: Split) -> Values:
        return {"answer": outputs[target].argmax(1)}

    for kept in itertools.combinations(range(experts), k):
        found = evaluate(model, data, read, precision=precision, select=fixed(kept))
        hit_LN |= found.values["answer"] == labels_LN
    share, *by_chance = hit_LN.double().mean(1).tolist()
    return share, sum(by_chance) / PERMUTATIONS


def class_target(task: Task) -> str:
    """The target that is the one class of an input; :class:`UsageError` where the task has none."""
    if task.class_target is None:
        name = task.info.name
        raise UsageError(
            f"this measure needs one class for each input; in task '{name}' {task.no_class}.",
            code="no-class-target",
            task=name,
        )
    return task.class_target
