"""A compressed model learns the answers of the one it was made from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from moebench.hosts.host import Call, Host
from moebench.tasks import Classes, Split, Values
from moebench.training.loop import train
from moebench.training.recipe import Recipe

TEMPERATURE = 2.0
"""At which the two models' answers are compared (Hinton et al., arXiv 1503.02531)."""

TEACHER = 0.5
"""Share of the loss that is the teacher's; the rest is that of the labels."""


@dataclass(frozen=True)
class Taught:
    """The loss of a step: (1 - a) the task's, plus a T^2 KL(teacher || student) at temperature T, a mean over answers
    and over targets.
    """

    teacher: Host
    task: Classes

    def __call__(self, outputs: Values, batch: Split) -> Tensor:
        """In nats. outputs: the student's."""
        with torch.no_grad():
            taught = self.teacher.run(batch.inputs, Call())
        apart = torch.stack([_divergence(taught[name], output) for name, output in outputs.items()]).mean()
        return (1 - TEACHER) * self.task.loss(outputs, batch) + TEACHER * TEMPERATURE**2 * apart


def _divergence(taught: Tensor, said: Tensor) -> Tensor:
    """KL(taught || said) of logits (N, ..., O) at the temperature, a mean over answers."""
    wanted_NO, said_NO = ((each.float().flatten(0, -2) / TEMPERATURE).log_softmax(-1) for each in (taught, said))
    return F.kl_div(said_NO, wanted_NO, reduction="batchmean", log_target=True)


def recover(student: Host, teacher: Host, task: Classes, data: Split, recipe: Recipe) -> bool:
    """Train the student in place by the recipe, all its weights; the teacher answers in evaluation, unchanged.

    Whether the loss stayed a number.
    """
    return train(student, data, recipe, Taught(teacher.eval(), task)).finite
