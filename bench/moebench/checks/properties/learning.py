"""It learns."""

from __future__ import annotations

import math

from moebench.checks.outcome import NotApplicable
from moebench.checks.subject import CheckSubject
from moebench.checks.toy import train

INPUTS = 32
STEPS = 150


def check_learns_toy_set(subject: CheckSubject) -> None:
    """In 150 steps it halves the loss on 32 inputs, though the head on its outputs is fixed."""
    layer = subject.build()
    if not any(parameter.requires_grad for parameter in layer.parameters()):
        raise NotApplicable("it has no trainable parameters.")
    losses = train(layer, subject.defaults(), subject.inputs(INPUTS), STEPS)
    first, last = losses[0], losses[-1]
    if not math.isfinite(last):
        raise subject.failed(f"diverges on {INPUTS} inputs: its loss is {last} after {STEPS} steps of Adam at 3e-3")
    if last > 0.5 * first:
        raise subject.failed(
            f"does not learn {INPUTS} inputs: its loss goes from {first:.3f} to {last:.3f} in {STEPS} steps "
            "of Adam at 3e-3"
        )
