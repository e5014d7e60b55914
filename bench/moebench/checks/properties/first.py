"""What all other checks rest on: its weights are drawn, and it passes forward and back."""

from __future__ import annotations

import torch

from moebench.budgets.first_call import refuse_undrawn, undrawn_is_nan
from moebench.checks.outcome import CheckFailed
from moebench.checks.subject import CheckSubject
from moebench.contract import Context
from moebench.errors import LayerError


def check_weights_are_drawn(subject: CheckSubject) -> None:
    """Its weights are finite numbers that build() draws or sets, not memory that nobody wrote."""
    for settings in (subject.defaults(), *subject.sampled(3, seed=1)):
        with subject.expect_no_error("cannot be built"), undrawn_is_nan():
            layer = subject.build(settings)
        try:
            refuse_undrawn(subject.name, [layer])
        except LayerError as error:
            raise CheckFailed(str(error)) from None


def check_works(subject: CheckSubject) -> None:
    """It is built, and passes forward and back in training and forward in evaluation."""
    with subject.expect_no_error("cannot be built"):
        layer = subject.build()
    x_BTD = subject.inputs().requires_grad_()
    with subject.expect_no_error("fails in forward()"):
        y_BTO = layer.compute(x_BTD, layer.route(x_BTD, Context()))
        loss = y_BTO.square().mean()
    if loss.requires_grad:
        with subject.expect_no_error("fails in the backward pass"):
            torch.autograd.backward(loss)
    with subject.expect_no_error("fails in evaluation"), torch.inference_mode():
        layer.eval()(subject.inputs())
