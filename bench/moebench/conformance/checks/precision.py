"""bfloat16 under autocast."""

from __future__ import annotations

import torch
from torch import Tensor

from moebench.conformance.compare import listed
from moebench.conformance.subject import Built, Subject

NEAR = 0.1
"""Largest relative error of nine tokens in ten. bfloat16 has 8 bits; a sparse router may flip a near tie."""


def check_bf16_autocast(subject: Subject) -> None:
    """Under bfloat16 autocast outputs and gradients are finite, and the outputs near those of fp32."""
    for built in subject.trials():
        layer, x_BTD = built.layer, subject.inputs(batch=8)
        want = layer(x_BTD).detach()
        try:
            got = _autocast(built, x_BTD)
        except Exception as error:
            raise subject.failed(
                f"raises {type(error).__name__} under bfloat16 autocast{built.words}: {error}"
            ) from None
        if not bool(torch.isfinite(got).all()):
            raise subject.failed(f"gives NaN or infinity under bfloat16 autocast{built.words}.")
        gradients = {name: p.grad for name, p in layer.named_parameters() if p.grad is not None}
        broken = [name for name, gradient in gradients.items() if not bool(torch.isfinite(gradient).all())]
        if broken:
            raise subject.failed(
                f"gives {listed(broken)} a gradient with NaN or infinity under bfloat16 autocast."
            )
        error_BT = (got - want).norm(dim=-1) / want.norm(dim=-1).clamp_min(
            0.1 * float(want.norm(dim=-1).mean())
        )
        worst = float(error_BT.flatten().quantile(0.9))
        if worst > NEAR:
            raise subject.failed(
                f"is off by {worst:.0%} or more for a tenth of the tokens under bfloat16 "
                f"autocast{built.words}; keep the router's product and softmax in fp32."
            )


def _autocast(built: Built, x_BTD: Tensor) -> Tensor:
    """The output in eval mode, after a backward pass in training mode."""
    with torch.autocast("cpu", torch.bfloat16):
        loss = built.layer.train()(x_BTD).float().square().mean()
        torch.autograd.backward(loss)
        y_BTO: Tensor = built.layer.eval()(x_BTD)
    return y_BTO.detach().float()
