"""What is minimised, in float32 whatever the precision of the model."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from moebench.tasks import Objective


def loss_of(objective: Objective, output_NC: Tensor, target_N: Tensor) -> Tensor:
    """Mean cross-entropy in nats, over the places of a sequence (N, A, C) too; or mean squared error of one output."""
    if objective in ("classification", "sequence"):
        return F.cross_entropy(output_NC.float().flatten(0, -2), target_N.flatten())
    if objective != "regression":
        raise ValueError(f"a task with the objective '{objective}' cannot be learnt")
    return F.mse_loss(output_NC.float().squeeze(1), target_N)
