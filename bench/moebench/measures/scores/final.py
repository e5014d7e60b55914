"""Everything that is scored on a trained model, as the names and numbers of its record."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moebench.hosts.host import Call, Host
from moebench.measures.audit import Audit
from moebench.measures.scores.experts import always_on_share, output_cosine, polysemanticity, weight_cosine
from moebench.measures.scores.information import class_information, dead_share, load_entropy, max_violation
from moebench.measures.scores.shares import NO_EXPERTS
from moebench.measures.scores.specialization import specialization
from moebench.measures.scores.tokens import token_scores
from moebench.measures.subset.scores import mean_mass
from moebench.tasks import Split, Task, Values
from moebench.training.evaluate import (
    Evaluation,
    answers,
    asking,
    evaluate,
    evaluate_task,
    inputs_a_pass,
    joined,
    run_pass,
)


@dataclass
class Scores:
    """Numbers by name, reasons for those that are null, arrays for the sidecar, and what the audit found."""

    values: dict[str, float | None] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    audit: dict[str, Any] = field(default_factory=dict)

    def put(self, name: str, value: float | None, reason: str = "") -> None:
        """Add a number, or null with its reason."""
        self.values[name] = value
        if value is None:
            self.reasons[name] = reason


def scores_of(
    model: Host, task: Task, validation: Split, test: Split | None, precision: str, audit: Audit | None = None
) -> Scores:
    """``<part>_<score>`` for each score of the task; of a final run specialization, and what stands beside it, too.

    test: None while tuning, which may see no more than the scores on validation data. audit: of the model, asked among
    the batches of the test part.
    """
    scores = Scores()
    on_validation = evaluate_task(model, task, validation, precision=precision)
    _put_part(scores, "validation", task, on_validation.values)
    if test is None:
        return scores

    def read(outputs: Values, batch: Split) -> Values:
        return {**task.scores(outputs, batch), **task.predictions(outputs)}

    if audit is None:
        on_test = evaluate(model, test, read, batch=inputs_a_pass(task.evaluation_batch, test), precision=precision)
    else:
        parts = audit.questions(test, inputs_a_pass(task.evaluation_batch, test))
        on_test = joined(audit.scored(parts, answers(model, parts, audit.heard(read), precision=precision)))
    _put_part(scores, "test", task, {name: on_test.values[name] for name in on_validation.values})
    predictions = on_test.values.keys() - on_validation.values.keys()
    scores.arrays |= {f"test_{name}": on_test.values[name].cpu().numpy() for name in sorted(predictions)}
    class_N = None if task.class_target is None else test.targets[task.class_target]
    if class_N is None:
        experts = any(mass_NE is not None for mass_NE in on_validation.masses)
        scores.put("specialization", None, task.no_class if experts else NO_EXPERTS)
    else:
        found = specialization(model, task, test, on_test, mean_mass(on_validation), precision=precision)
        scores.put("specialization", found.value, found.reason)
        scores.values |= found.scores
    _put_routing(scores, model, task, on_validation, validation, precision)
    _put_experts(scores, model, on_test, test, precision)
    _put_classes(scores, model, task, on_test, test, class_N, precision)
    if audit is not None:
        scores.audit = audit.report()
    return scores


def _put_part(scores: Scores, part: str, task: Task, values: Values) -> None:
    for name, value in task.summary(values).items():
        scores.put(f"{part}_{name}", value)


def _put_routing(
    scores: Scores, model: Host, task: Task, on_validation: Evaluation, validation: Split, precision: str
) -> None:
    """Scores of the routing only; nothing without experts."""
    masses = [mass_NE for mass_NE in on_validation.masses if mass_NE is not None]
    if masses:
        for name, of in (("load_entropy", load_entropy), ("dead_share", dead_share), ("max_violation", max_violation)):
            scores.put(name, _mean([of(mass_NE) for mass_NE in masses]))
        batch = inputs_a_pass(task.evaluation_batch, validation)
        scores.values |= routing_summary(model, validation, batch=batch, precision=precision)
        values, reasons = token_scores(model, task, validation, precision=precision)
        for name, value in values.items():
            scores.put(name, value, reasons.get(name, ""))


def _put_experts(scores: Scores, model: Host, on_test: Evaluation, test: Split, precision: str) -> None:
    """What experts are beside each other; nothing without experts."""
    if any(mass_NE is not None for mass_NE in on_test.masses):
        scores.put("output_cosine", output_cosine(model, test, precision=precision), "no two experts act on one token")
        scores.put("weight_cosine", weight_cosine(model), "no two experts have parameters of one size")
        scores.put("always_on_share", always_on_share(model, test, precision=precision))


def _put_classes(
    scores: Scores,
    model: Host,
    task: Task,
    on_test: Evaluation,
    test: Split,
    class_N: Tensor | None,
    precision: str,
) -> None:
    """Scores of experts and classes: null where an input has no class, nothing without experts."""
    masses = [mass_NE for mass_NE in on_test.masses if mass_NE is not None]
    if not masses:
        return
    if class_N is None:
        scores.put("class_information", None, task.no_class)
        scores.put("polysemanticity", None, task.no_class)
        return
    scores.put("class_information", _mean([class_information(mass_NE, class_N) for mass_NE in masses]))
    unlike = polysemanticity(model, task, test, on_test, precision=precision)
    scores.put("polysemanticity", unlike, "no expert matters alone")
    for index, mass_NE in enumerate(masses):
        scores.arrays[f"class_mass_CE_{index}"] = _by_class(mass_NE, class_N)


def _by_class(mass_NE: Tensor, target_N: Tensor) -> np.ndarray:
    """Mean mass of each expert on the inputs of each class (C, E)."""
    classes = int(target_N.max()) + 1
    return torch.stack([mass_NE[target_N == c].float().mean(0) for c in range(classes)]).cpu().numpy()


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def routing_summary(model: Host, data: Split, *, batch: int = 256, precision: str = "fp32") -> dict[str, float]:
    """``drop_rate``: share of choices without room; ``token_coverage``: share of tokens that an expert took: means over
    the inputs and the layers in which tokens choose. ``max_violation_counts``: the largest number of choices of an
    expert over the mean, less 1, a mean over the layers that choose. ``acting_experts``: choices of a token that count,
    likewise. Empty where none does.
    """
    drops: list[Tensor] = []
    covered: list[Tensor] = []
    chosen: dict[int, list[Tensor]] = {}
    acting: dict[int, list[Tensor]] = {}
    with asking(model):
        for part in data.batches(batch):
            run_pass(model, part, precision, call := Call())
            for index, routing in enumerate(call.routings):
                if (count_BTE := routing.count_BTE) is not None:
                    chosen.setdefault(index, []).append(count_BTE.sum(1))
                    acting.setdefault(index, []).append(count_BTE.sum(2).double().mean(1))
                if routing.drop_rate_B is not None and routing.coverage_B is not None:
                    drops.append(routing.drop_rate_B)
                    covered.append(routing.coverage_B)
    found = {}
    if drops:
        found = {"drop_rate": float(torch.cat(drops).mean()), "token_coverage": float(torch.cat(covered).mean())}
    if chosen:
        found["acting_experts"] = _mean([float(torch.cat(of_inputs).mean()) for of_inputs in acting.values()])
        found["max_violation_counts"] = _mean([max_violation(torch.cat(counts)) for counts in chosen.values()])
    return found
