"""The accuracy with one fixed expert for every input, and which experts the inputs of each class choose."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from moebench.contract import Routing
from moebench.hosts.host import AS_IS, Call, Host, rules_of
from moebench.measures.oracle import class_target
from moebench.measures.scores.final import Scores
from moebench.measures.scores.information import dead_share, load_entropy, shares
from moebench.measures.subject import Subject
from moebench.measures.subset.infer import ALL, Subset, experts_of
from moebench.measures.subset.select import fixed
from moebench.tasks import Split
from moebench.training.evaluate import BATCH, asking

ALONE = "mask_logits"
"""The rule under which a single expert has all the weight, for every input."""


def fixed_expert(subject: Subject) -> Scores:
    """On test data: ``all``, the accuracy of the whole model; ``fixed 1`` to ``fixed E``, that with one expert in every
    layer for every input, from the best to the worst, and their mean ``fixed``; ``use 1`` to ``use E``, the share of
    all choices that an expert has, from the most used, and their ``use_entropy`` (1: even) and ``unused`` share of
    experts (below a tenth of an even share), means over layers.

    A single expert has the weight 1 where the layers have the rule ``mask_logits``, else the weight that it has among
    all. Arrays: ``right_CE``, the accuracy on each class with each fixed expert, and for each layer ``use_CE_<layer>``,
    the share of the choices of a class's inputs that falls on each expert.
    """
    model, task, precision = subject.model, subject.task, subject.precision
    target, headline = class_target(task), task.info.ranked_by.name
    experts, classes = experts_of(model), task.info.targets[target]
    test = subject.data("test")
    class_N = test.targets[target]
    rule = ALONE if all(ALONE in rules_of(layer) for layer in model.layers()) else AS_IS
    alone = [Subset(fixed((e,)), rule).evaluate(model, task, test, precision=precision) for e in range(experts)]
    right_NE = torch.stack([each.values[headline] for each in alone], 1)
    reached = sorted((float(right_N.mean()) for right_N in right_NE.unbind(1)), reverse=True)
    scores = Scores()
    scores.put("all", ALL.score(model, task, test, precision=precision))
    scores.put("fixed", sum(reached) / experts)
    _put_ranks(scores, "fixed", reached)
    scores.arrays["right_CE"] = _by_class(right_NE, class_N, classes)
    uses = [shares(count_NE).cpu() for count_NE in choices(model, test, precision=precision)]
    ranked = torch.stack([share_NE.mean(0).sort(descending=True).values for share_NE in uses]).mean(0)
    _put_ranks(scores, "use", ranked.tolist())
    scores.put("use_entropy", sum(map(load_entropy, uses)) / len(uses))
    scores.put("unused", sum(map(dead_share, uses)) / len(uses))
    for index, share_NE in enumerate(uses):
        scores.arrays[f"use_CE_{index}"] = _by_class(share_NE, class_N.cpu(), classes)
    return scores


def choices(model: Host, data: Split, *, precision: str = "fp32") -> list[Tensor]:
    """count_NE of each layer: how often an input's tokens chose each expert and found room; its mass where the routing
    is not sparse.
    """
    seen: list[list[Tensor]] = []
    with asking(model), torch.autocast(data.inputs.device.type, torch.bfloat16, enabled=precision == "bf16"):
        for part in data.batches(BATCH):
            call = Call()
            model.run(part.inputs, call)
            seen.append([_counted(routing) for routing in call.routings])
    return [torch.cat(parts) for parts in zip(*seen, strict=True)]


def _counted(routing: Routing) -> Tensor:
    count_BE = routing.mass_BE if routing.load_BE is None else routing.load_BE
    assert count_BE is not None  # it has experts
    return count_BE.double()


def _put_ranks(scores: Scores, name: str, values: list[float]) -> None:
    for rank, value in enumerate(values, 1):
        scores.put(f"{name} {rank}", value)


def _by_class(value_NE: Tensor, target_N: Tensor, classes: int) -> np.ndarray:
    """Mean over the inputs of each class (C, E); 0 for a class without any."""
    of_class_CN = F.one_hot(target_N, classes).double().t()
    total_C1 = of_class_CN.sum(1, keepdim=True).clamp_min(1)
    mean_CE: np.ndarray = (of_class_CN @ value_NE.double() / total_C1).cpu().numpy()
    return mean_CE
