"""What is scored on a model that predicts a number."""

from __future__ import annotations

from torch import Tensor

from moebench.hosts.host import Host
from moebench.scores.final import Scores
from moebench.tasks import Split
from moebench.training.evaluate import answer


def regression_scores(model: Host, validation: Split, test: Split | None, precision: str) -> Scores:
    """Mean squared errors, beside that of the best constant; ``test`` is None while tuning."""
    scores = Scores()
    for part, data in (("validation", validation), ("test", test)):
        if data is not None:
            predicted_N = answer(model, data, precision=precision, batch=4096).logits_NC.squeeze(1)
            scores.put(f"{part}_mse", mean_square(predicted_N - data.targets))
            scores.put(f"{part}_constant_mse", mean_square(data.targets - data.targets.double().mean()))
    return scores


def mean_square(difference_N: Tensor) -> float:
    """Mean of squares, summed in fp64."""
    return float(difference_N.double().square().mean())
