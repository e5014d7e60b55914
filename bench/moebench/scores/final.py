"""Everything that is scored on a finally trained model, as the names and numbers of its record."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from moebench.hosts.host import Host
from moebench.scores.experts import output_cosine, polysemanticity
from moebench.scores.information import class_information, dead_share, load_entropy, max_violation
from moebench.scores.routing import routing_summary
from moebench.scores.specialization import specialization
from moebench.subset.scores import mean_mass
from moebench.tasks import Split
from moebench.training.evaluate import Answers, accuracy, answer, cross_entropy


@dataclass
class Scores:
    """Numbers by name, reasons for those that are null, and arrays for the sidecar."""

    values: dict[str, float | None] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)

    def put(self, name: str, value: float | None, reason: str = "") -> None:
        """Add a number, or null with its reason."""
        self.values[name] = value
        if value is None:
            self.reasons[name] = reason


def validation_scores(model: Host, validation: Split, precision: str) -> tuple[Scores, Answers]:
    """What tuning may see."""
    answers = answer(model, validation, precision=precision)
    scores = Scores()
    scores.put("validation_accuracy", accuracy(answers.logits_NC, validation.targets))
    scores.put("validation_loss_nats", cross_entropy(answers.logits_NC, validation.targets))
    return scores, answers


def final_scores(model: Host, validation: Split, test: Split, precision: str) -> Scores:
    """Validation and test scores, specialization and what stands beside it."""
    scores, on_validation = validation_scores(model, validation, precision)
    on_test = answer(model, test, precision=precision)
    scores.put("test_accuracy", accuracy(on_test.logits_NC, test.targets))
    scores.put("test_loss_nats", cross_entropy(on_test.logits_NC, test.targets))
    fitted = mean_mass(on_validation)
    headline = specialization(model, test, on_test, fitted, precision=precision)
    scores.put("specialization", headline.value, headline.reason)
    scores.values |= headline.scores
    scores.arrays["test_prediction_N"] = on_test.logits_NC.argmax(1).cpu().numpy().astype(np.int16)
    if fitted is not None:
        _routing_scores(scores, model, on_validation, on_test, validation, test, precision)
    return scores


def _routing_scores(
    scores: Scores,
    model: Host,
    on_validation: Answers,
    on_test: Answers,
    validation: Split,
    test: Split,
    precision: str,
) -> None:
    seen = [mass_NE for mass_NE in on_validation.masses if mass_NE is not None]
    masses = [mass_NE for mass_NE in on_test.masses if mass_NE is not None]
    scores.put("class_information", _mean([class_information(mass_NE, test.targets) for mass_NE in masses]))
    scores.put("load_entropy", _mean([load_entropy(mass_NE) for mass_NE in seen]))
    scores.put("dead_share", _mean([dead_share(mass_NE) for mass_NE in seen]))
    scores.put("max_violation", _mean([max_violation(mass_NE) for mass_NE in seen]))
    scores.put("output_cosine", output_cosine(model, test), "no two experts act on one token")
    scores.put(
        "polysemanticity",
        polysemanticity(model, test, on_test, precision=precision),
        "no expert matters alone",
    )
    scores.values |= routing_summary(model, validation)
    for index, mass_NE in enumerate(masses):
        scores.arrays[f"class_mass_CE_{index}"] = _by_class(mass_NE, test.targets)


def _by_class(mass_NE: Tensor, target_N: Tensor) -> np.ndarray:
    """Mean mass of each expert on the inputs of each class (C, E)."""
    classes = int(target_N.max()) + 1
    return torch.stack([mass_NE[target_N == c].float().mean(0) for c in range(classes)]).cpu().numpy()


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
