"""Recovery: a compressed model is fine-tuned with distillation from the one that it was made from."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from moebench.hosts.host import Call, Host
from moebench.tasks import Classes, Split, Values
from moebench.training.loop import Loss, train
from moebench.training.recipe import Recipe

TEMPERATURE = 2.0
"""Of distillation (Hinton et al., arXiv 1503.02531)."""

TEACHER = 0.5
"""Share of the loss that is the teacher's; the rest is that of the labels."""


def distillation(teacher: Host, task: Classes) -> Loss:
    """The loss of a step, in nats: (1 - a) the task's, plus a T^2 KL(teacher || student) at temperature T, a mean over
    answers and over targets.
    """

    def loss(outputs: Values, batch: Split) -> Tensor:
        with torch.no_grad():
            taught = teacher.run(batch.inputs, Call())
        divergence = torch.stack([_divergence(taught[name], output) for name, output in outputs.items()]).mean()
        return (1 - TEACHER) * task.loss(outputs, batch) + TEACHER * TEMPERATURE**2 * divergence

    return loss


def _divergence(teacher: Tensor, student: Tensor) -> Tensor:
    """KL(teacher || student) of logits (N, ..., O) at the temperature, a mean over answers."""
    wanted_NO, given_NO = ((each.float().flatten(0, -2) / TEMPERATURE).log_softmax(-1) for each in (teacher, student))
    return F.kl_div(given_NO, wanted_NO, reduction="batchmean", log_target=True)


def recover(student: Host, teacher: Host, task: Classes, data: Split, recipe: Recipe) -> bool:
    """Train the student in place by the recipe, all its weights; the teacher stays in evaluation mode, unchanged.

    Whether the loss stayed finite.
    """
    return train(student, data, recipe, distillation(teacher.eval(), task)).finite
