"""How far a trained model's test data fall behind the data it was trained on."""

from __future__ import annotations

from moebench.derived.subject import Subject
from moebench.scores.final import Scores
from moebench.training.evaluate import accuracy, answer, cross_entropy


def generalization(subject: Subject) -> Scores:
    """``train_accuracy`` and ``test_accuracy``, ``error_gap`` (test error less training error, the gap of the 0-1
    loss that bounds speak of) and ``loss_gap_nats``, the same of the cross-entropy; in evaluation mode, without
    augmentation.
    """
    scores = Scores()
    for part in ("train", "test"):
        data = subject.data(part)
        logits_NC = answer(subject.model, data, precision=subject.precision).logits_NC
        scores.put(f"{part}_accuracy", accuracy(logits_NC, data.targets))
        scores.put(f"{part}_loss_nats", cross_entropy(logits_NC, data.targets))
    values = {name: value or 0.0 for name, value in scores.values.items()}
    scores.put("error_gap", values["train_accuracy"] - values["test_accuracy"])
    scores.put("loss_gap_nats", values["test_loss_nats"] - values["train_loss_nats"])
    return scores
