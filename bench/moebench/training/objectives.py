"""What is minimised, in float32 whatever the precision of the model."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from moebench.tasks import Objective


def loss_of(objective: Objective, output_NC: Tensor, target_N: Tensor) -> Tensor:
    """Mean cross-entropy in nats, or mean squared error of the one output."""
    if objective == "classification":
        return F.cross_entropy(output_NC.float(), target_N)
    if objective != "regression":
        raise ValueError(f"a task with the objective '{objective}' cannot be learnt")
    return F.mse_loss(output_NC.float().squeeze(1), target_N)
