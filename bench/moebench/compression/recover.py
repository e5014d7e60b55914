"""A compressed model learns the answers of the one it was made from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from moebench.hosts.host import Call, Host
from moebench.tasks import Split
from moebench.training.loop import Recipe, train
from moebench.training.objectives import loss_of

TEMPERATURE = 2.0
"""At which the two models' answers are compared (Hinton et al., arXiv 1503.02531)."""

TEACHER = 0.5
"""Share of the loss that is the teacher's; the rest is that of the labels."""


@dataclass(frozen=True)
class Taught:
    """The loss of a step: (1 - a) the task's, plus a T^2 KL(teacher || student) at temperature T, mean over answers."""

    teacher: Host
    recipe: Recipe

    def __call__(self, x_NCHW: Tensor, output_NC: Tensor, target_N: Tensor) -> Tensor:
        """In nats."""
        with torch.no_grad():
            taught_NC = self.teacher.run(x_NCHW, Call()).float().flatten(0, -2)
        wanted_NC = (taught_NC / TEMPERATURE).log_softmax(-1)
        said_NC = (output_NC.float().flatten(0, -2) / TEMPERATURE).log_softmax(-1)
        apart = F.kl_div(said_NC, wanted_NC, reduction="batchmean", log_target=True)
        labels = loss_of(self.recipe.objective, output_NC, target_N)
        return (1 - TEACHER) * labels + TEACHER * TEMPERATURE**2 * apart


def recover(student: Host, teacher: Host, data: Split, recipe: Recipe) -> bool:
    """Train the student in place by the recipe, all its weights; the teacher answers in evaluation, unchanged.

    Whether the loss stayed a number.
    """
    return train(student, data, recipe, criterion=Taught(teacher.eval(), recipe)).finite
