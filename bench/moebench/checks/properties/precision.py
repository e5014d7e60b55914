"""bfloat16 under autocast."""

from __future__ import annotations

import torch
from torch import Tensor

from moebench.checks.compare import gap, listed
from moebench.checks.subject import BuiltLayer, CheckSubject
from moebench.contract import Context

NEAR = 0.05
"""Largest relative error of nine tokens in ten; one product in bfloat16 has 0.006. A near tie may flip."""

MASS = 1e-3
"""Masses that move by more than this show that the router works in bfloat16."""


def check_bf16_autocast(subject: CheckSubject) -> None:
    """Under bfloat16 autocast outputs and gradients are finite, and the outputs near those of fp32."""
    for built in subject.trials():
        layer, x_BTD = built.layer, subject.inputs(batch=8)
        want, mass_BE = layer(x_BTD).detach(), layer.route(x_BTD, Context()).mass_BE
        with built.expect_no_error("fails under bfloat16 autocast"):
            got, moved_BE = _under_autocast(built, x_BTD)
        gradients = {name: p.grad for name, p in layer.named_parameters() if p.grad is not None}
        broken = [name for name, gradient in gradients.items() if not bool(torch.isfinite(gradient).all())]
        if not bool(torch.isfinite(got).all()):
            raise built.failed("gives NaN or infinity under bfloat16 autocast")
        if broken:
            raise built.failed(f"gives {listed(broken)} a gradient with NaN or infinity under bfloat16 autocast")
        worst = _relative_error(got, want)
        if worst > NEAR:
            raise built.failed(f"is off by {worst:.0%} or more for a tenth of the tokens under bfloat16 autocast")
        if mass_BE is not None and moved_BE is not None and (moves := gap(moved_BE, mass_BE)) > MASS:
            subject.note(
                f"its masses move by {moves:.1%} under bfloat16 autocast{built.words}: keep the router in fp32."
            )


def _under_autocast(built: BuiltLayer, x_BTD: Tensor) -> tuple[Tensor, Tensor | None]:
    """The output and masses in eval mode, after a backward pass in training mode."""
    with torch.autocast("cpu", torch.bfloat16):
        loss = built.layer.train()(x_BTD).float().square().mean()
        torch.autograd.backward(loss)
        built.layer.eval()
        y_BTO: Tensor = built.layer(x_BTD)
        return y_BTO.detach().float(), built.layer.route(x_BTD, Context()).mass_BE


def _relative_error(got: Tensor, want: Tensor) -> float:
    """The error that nine tokens in ten stay below, relative to the token, or to a tenth of the mean token."""
    size_BT = want.norm(dim=-1)
    error_BT = (got - want).norm(dim=-1) / size_BT.clamp_min(0.1 * float(size_BT.mean()))
    return float(error_BT.flatten().quantile(0.9))
