"""Inputs do not affect each other, padding affects no token, and a call affects no other call."""

from __future__ import annotations

import torch
from torch import Tensor

from moebench.checks.compare import same
from moebench.checks.outcome import NotApplicable
from moebench.checks.subject import BuiltLayer, CheckSubject
from moebench.contract import Context, Layer, Routing

LOUD = 5.0
"""Replacements are this many times larger than what they replace."""


def check_inputs_do_not_leak(subject: CheckSubject) -> None:
    """In eval mode an input's output does not depend on the other inputs of its batch, nor on their order."""
    for built in subject.trials():
        layer, x_BTD = built.layer, subject.inputs()
        want = layer(x_BTD)[:1]
        changed = x_BTD.clone()
        changed[1] = subject.inputs(batch=1, seed=9)[0] * LOUD
        for got, when in (
            (layer(changed)[:1], "when input 1 of its batch changes"),
            (layer(x_BTD[:1]), "when it is alone in its batch"),
            (layer(x_BTD[[2, 0, 3, 1]])[1:2], "when the batch is in another order"),
        ):
            built.expect_same(got, want, f"leaks between inputs: the output of input 0 changes {when},")
        if not same(_in_training(layer, changed)[0], _in_training(layer, x_BTD)[0]):
            subject.note("in training mode an input's output depends on the other inputs of its batch.")


def _in_training(layer: Layer, x_BTD: Tensor) -> Tensor:
    torch.manual_seed(3)
    y_BTO: Tensor = layer.train()(x_BTD)
    layer.eval()
    return y_BTO


def check_padding_has_no_say(subject: CheckSubject) -> None:
    """What stands at padding changes neither masses nor losses nor, in eval mode, the other tokens' outputs."""
    for built in subject.trials():
        x_BTD = subject.inputs()
        real_BT = torch.ones(x_BTD.shape[:2], dtype=torch.bool)
        real_BT[0, -3:], real_BT[1, -1:] = False, False
        other_BTD = torch.where(real_BT[..., None], x_BTD, subject.inputs(seed=8) * LOUD)
        try:
            built.layer.route(x_BTD, Context(real_BT))
        except (ValueError, NotImplementedError) as error:
            raise NotApplicable(f"it refuses padding: {error}") from None
        for training in (False, True):
            built.layer.train(training)
            want, routing = _real_outputs(built.layer, x_BTD, real_BT)
            got, other = _real_outputs(built.layer, other_BTD, real_BT)
            if not training:
                built.expect_same(got, want, "lets padding change the outputs of real tokens")
            elif not same(got, want):
                subject.note("in training mode padding changes the outputs of real tokens.")
            _expect_same_decision(built, other, routing)


def _real_outputs(layer: Layer, x_BTD: Tensor, real_BT: Tensor) -> tuple[Tensor, Routing]:
    """The output with 0 at padding, and the routing."""
    torch.manual_seed(3)
    routing = layer.route(x_BTD, Context(real_BT))
    return layer.compute(x_BTD, routing) * real_BT[..., None], routing


def _expect_same_decision(built: BuiltLayer, got: Routing, want: Routing) -> None:
    if got.mass_BE is not None and want.mass_BE is not None and not same(got.mass_BE, want.mass_BE):
        raise built.failed("counts padding in its masses: other values at padded tokens change them")
    for name, loss in want.losses.items():
        if not same(got.losses[name], loss):
            raise built.failed(
                f"counts padding in its loss '{name}': other values at padded tokens change it from "
                f"{loss.item():.6g} to {got.losses[name].item():.6g}"
            )


def check_calls_share_no_state(subject: CheckSubject) -> None:
    """compute() follows the routing it is handed, whatever was routed since."""
    for built in subject.trials():
        layer, x_BTD = built.layer, subject.inputs()
        want = layer(x_BTD)
        routing = layer.route(x_BTD, Context())
        layer(subject.inputs(seed=7))
        got = layer.compute(x_BTD, routing)
        built.expect_same(got, want, "keeps its routing: when another input is routed in between, compute() changes")


def check_inference_mode_leaves_nothing(subject: CheckSubject) -> None:
    """After a pass in inference mode it still trains."""
    for built in subject.trials():
        with built.expect_no_error("cannot train after a pass in inference mode"):
            with torch.inference_mode():
                built.layer(subject.inputs())
            built.layer.train()(subject.inputs()).square().sum().backward()
