"""The generalization gap of a trained model: its scores on training data less those on test data."""

from __future__ import annotations

from moebench.measures.scores.final import Scores
from moebench.measures.subject import Subject
from moebench.training.evaluate import evaluate_task


def generalization(subject: Subject) -> Scores:
    """``train_<score>`` and ``test_<score>`` for each score of the task; ``error_gap``, by how much the headline is
    better on training data (of an accuracy, the gap of the 0-1 loss, as in bounds); and ``loss_gap_nats``, by
    how much a cross-entropy is lower there. In evaluation mode, without augmentation.
    """
    scores, task = Scores(), subject.task
    headline = task.info.ranked_by
    for part in ("train", "test"):
        found = evaluate_task(subject.model, task, subject.data(part), precision=subject.precision)
        for name, value in task.summary(found.values).items():
            scores.put(f"{part}_{name}", value)
    values = {name: value or 0.0 for name, value in scores.values.items()}
    gap = headline.difference(values[f"train_{headline.name}"], values[f"test_{headline.name}"])
    scores.put("error_gap", gap)
    if "test_loss_nats" in values:
        scores.put("loss_gap_nats", values["test_loss_nats"] - values["train_loss_nats"])
    return scores
