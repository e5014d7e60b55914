"""What is scored on a model that answers with a sequence: right when every place of it is."""

from __future__ import annotations

import numpy as np

from moebench.board.shares import NO_EXPERTS
from moebench.hosts.host import Host
from moebench.scores.final import Scores, validation_scores
from moebench.scores.information import dead_share, load_entropy, max_violation
from moebench.scores.routing import routing_summary
from moebench.tasks import Split
from moebench.training.evaluate import Answers, accuracy, answer, cross_entropy

NO_CLASS = "an input has a sequence of classes, not one"


def sequence_scores(model: Host, validation: Split, test: Split | None, precision: str) -> Scores:
    """``<part>_accuracy``: the share of inputs whose whole answer is right, which of a causal model is the share that
    it would write right by itself, each token after those it wrote. ``<part>_loss_nats``: a mean over places. ``test``
    is None while tuning.
    """
    scores, on_validation = validation_scores(model, validation, precision)
    if test is None:
        return scores
    on_test = answer(model, test, precision=precision)
    scores.put("test_accuracy", accuracy(on_test.logits_NC, test.targets))
    scores.put("test_loss_nats", cross_entropy(on_test.logits_NC, test.targets))
    scores.arrays["test_prediction_NA"] = on_test.logits_NC.argmax(-1).cpu().numpy().astype(np.int16)
    _put_routing(scores, model, on_validation, validation)
    return scores


def _put_routing(scores: Scores, model: Host, on_validation: Answers, validation: Split) -> None:
    """What needs no class of an input; what does is null."""
    masses = [mass_NE for mass_NE in on_validation.masses if mass_NE is not None]
    if not masses:
        scores.put("specialization", None, NO_EXPERTS)
        return
    for name in ("specialization", "class_information", "polysemanticity"):
        scores.put(name, None, NO_CLASS)
    for name, of in (("load_entropy", load_entropy), ("dead_share", dead_share), ("max_violation", max_violation)):
        scores.put(name, sum(map(of, masses)) / len(masses))
    scores.values |= routing_summary(model, validation)
