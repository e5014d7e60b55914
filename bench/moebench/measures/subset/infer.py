"""Inference with a subset of the experts for each input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from moebench.contract import Layer
from moebench.errors import UnknownNameError, UsageError
from moebench.hosts.host import AS_IS, Call, Host, Select, rules_of
from moebench.measures.subset.scores import PAPERS, mean_mass, score_named
from moebench.measures.subset.select import check_kept, largest
from moebench.tasks import Split, Task
from moebench.training.evaluate import Evaluation, Read, evaluate, evaluate_task, headline_of, outputs_of

RULES = (AS_IS, "renormalise", "mask_logits")
"""The rules that the contract describes; a layer may have others."""


@dataclass(frozen=True)
class Subset:
    """Which experts act in each layer (None: all), and by which rule they are combined."""

    select: Select | None = None
    rule: str = AS_IS

    def call(self, *, keep_inputs: bool = False) -> Call:
        """What one pass is asked."""
        return Call(select=self.select, rule=self.rule, keep_inputs=keep_inputs)

    def evaluate(self, model: Host, task: Task, data: Split, *, precision: str = "fp32") -> Evaluation:
        """The values of each input by the name of the task's score."""
        return evaluate_task(model, task, data, precision=precision, select=self.select, rule=self.rule)

    def score(self, model: Host, task: Task, data: Split, *, precision: str = "fp32") -> float:
        """The task's headline on ``data``."""
        return headline_of(task, self.evaluate(model, task, data, precision=precision).values)


ALL = Subset()
"""The whole model."""


def mean_score(subsets: Sequence[Subset], model: Host, task: Task, data: Split, *, precision: str = "fp32") -> float:
    """The task's headline on ``data``, a mean over subsets, such as draws at random."""
    return sum(each.score(model, task, data, precision=precision) for each in subsets) / len(subsets)


def subset_inference(
    model: Host,
    data: Split,
    k: int,
    *,
    read: Read = outputs_of,
    score: str = PAPERS,
    rule: str = AS_IS,
    fitted: Sequence[Tensor] | None = None,
    seed: int = 0,
    precision: str = "fp32",
    batch: int | None = None,
) -> Evaluation:
    """The model on ``data`` with only k experts at work in every expert layer, chosen by each input (Algorithm 1 of
    arXiv 2409.00879).

    Inside each layer, on the stream as the layers before have left it, the k experts of largest ``score`` act; the
    work of the others is skipped and adds nothing. Nothing is retrained.

    read: what is kept of a batch's outputs. By default the outputs themselves, by target: ``values["class"]`` (N, O) of
    a classification. Give ``task.scores`` to keep only the values of each input, where outputs are large.

    score: a name in ``moebench.measures.subset.scores.SCORES``. rule: how the k are combined: "as_is", the paper's, or
    one that the layers have in ``rules``. fitted: for the score "static", what :func:`fit_static` returns. seed: of the
    score "random". The masses are those of the routing before the choice.

    Raises :class:`moebench.errors.UsageError` where k is not from 1 to E, where the layers differ in E or have no
    experts, and for a score or a rule that is unknown or that a layer does not have.
    """
    subset = subset_of(model, k, score=score, rule=rule, fitted=fitted, seed=seed)
    return evaluate(model, data, read, batch=batch, precision=precision, select=subset.select, rule=subset.rule)


def subset_of(
    model: Host,
    k: int,
    *,
    score: str = PAPERS,
    rule: str = AS_IS,
    fitted: Sequence[Tensor] | None = None,
    seed: int = 0,
) -> Subset:
    """The k experts of largest score in every layer of ``model``; arguments and errors of :func:`subset_inference`."""
    experts = experts_of(model)
    check_kept(k, experts)
    shapes = None if fitted is None else [tuple(mean_E.shape) for mean_E in fitted]
    if shapes is not None and shapes != [(experts,)] * len(model.layers()):
        raise UsageError(
            f"'fitted' has the shapes {shapes}; it needs {len(model.layers())} of ({experts},).",
            code="fitted-for-another-model",
            shapes=shapes,
        )
    for layer in model.layers():
        _check_rule(rule, layer)
    generator = torch.Generator().manual_seed(seed)
    return Subset(largest(score_named(score, fitted=fitted, generator=generator), k), rule)


def _check_rule(rule: str, layer: Layer) -> None:
    has = (AS_IS, *rules_of(layer))
    if rule not in has and rule not in RULES:
        raise UnknownNameError("rule", rule, {*RULES, *has})
    if rule not in has:
        name = type(layer).__name__
        raise UsageError(
            f"{name} has no rule '{rule}'; it has: {', '.join(has)}.", code="layer-lacks-rule", layer=name, has=has
        )


def fit_static(model: Host, validation: Split, *, precision: str = "fp32") -> tuple[Tensor, ...]:
    """What the score "static" takes as ``fitted``: the mean mass of each expert on validation data, per layer (E,)."""
    experts_of(model)
    fitted = mean_mass(evaluate(model, validation, lambda outputs, part: {}, precision=precision))
    assert fitted is not None  # it has experts
    return fitted


def experts_of(model: Host) -> int:
    """E, the same in every layer; :class:`UsageError` where there is none, or not one."""
    counts = [layer.num_experts for layer in model.layers()]
    if not counts or not all(counts):
        raise UsageError(
            "a layer of this model shows no experts, so there is no subset of them to choose.", code="no-experts"
        )
    if len(set(counts)) > 1:
        raise UsageError(
            f"the layers have {', '.join(map(str, counts))} experts; a subset needs the same in each.",
            code="unequal-experts",
            counts=counts,
        )
    return counts[0]
