"""Inputs do not hear of each other, tokens not of padding, calls not of other calls."""

from __future__ import annotations

import torch
from torch import Tensor

from moebench.checks.compare import difference_at, number, same
from moebench.checks.outcome import NotApplicable
from moebench.checks.subject import Built, Subject
from moebench.contract import Context, Layer

LOUD = 5.0
"""Replacements are this many times larger than what they replace."""


def check_inputs_do_not_leak(subject: Subject) -> None:
    """In eval mode an input's output does not depend on the other inputs of its batch, nor on their order."""
    for built in subject.trials():
        layer, x_BTD = built.layer, subject.inputs()
        y_BTO = layer(x_BTD)
        changed = _with_other_input(subject, x_BTD, 1)
        _expect_same(subject, built, layer(changed)[0], y_BTO[0], "when input 1 of its batch changes")
        _expect_same(subject, built, layer(x_BTD[:1])[0], y_BTO[0], "when it is alone in its batch")
        order = torch.tensor([2, 0, 3, 1])
        _expect_same(subject, built, layer(x_BTD[order])[1], y_BTO[0], "when the batch is in another order")
        if not same(_in_training(layer, changed)[0], _in_training(layer, x_BTD)[0]):
            subject.note("in training mode an input's output depends on the other inputs of its batch.")


def _with_other_input(subject: Subject, x_BTD: Tensor, which: int) -> Tensor:
    changed = x_BTD.clone()
    changed[which] = subject.inputs(batch=1, seed=9)[0] * LOUD
    return changed


def _in_training(layer: Layer, x_BTD: Tensor) -> Tensor:
    torch.manual_seed(3)
    y_BTO: Tensor = layer.train()(x_BTD)
    layer.eval()
    return y_BTO


def _expect_same(subject: Subject, built: Built, got_TO: Tensor, want_TO: Tensor, when: str) -> None:
    if not same(got_TO, want_TO):
        raise subject.failed(
            f"leaks between inputs: the output of input 0 changes {difference_at(got_TO[None], want_TO[None])} "
            f"{when}{built.words}."
        )


def check_padding_has_no_say(subject: Subject) -> None:
    """What stands at padding changes neither masses nor losses nor, in eval mode, the other tokens' outputs."""
    for built in subject.trials():
        layer, x_BTD = built.layer, subject.inputs()
        real_BT = torch.ones(x_BTD.shape[:2], dtype=torch.bool)
        real_BT[0, -3:], real_BT[1, -1:] = False, False
        other_BTD = torch.where(real_BT[..., None], x_BTD, subject.inputs(seed=8) * LOUD)
        try:
            layer.route(x_BTD, Context(real_BT))
        except (ValueError, NotImplementedError) as error:
            raise NotApplicable(f"it refuses padding: {error}") from None
        for mode in (False, True):
            _compare_padding(subject, built, (x_BTD, other_BTD), real_BT, training=mode)


def _compare_padding(
    subject: Subject, built: Built, pair: tuple[Tensor, Tensor], real_BT: Tensor, *, training: bool
) -> None:
    layer = built.layer.train(training)
    outputs, masses, losses = [], [], []
    for x_BTD in pair:
        torch.manual_seed(3)
        routing = layer.route(x_BTD, Context(real_BT))
        outputs.append(layer.compute(x_BTD, routing) * real_BT[..., None])
        masses.append(routing.mass_BE)
        losses.append(routing.losses)
    layer.eval()
    _compare_outputs(subject, built, outputs[1], outputs[0], training=training)
    if masses[0] is not None and masses[1] is not None and not same(masses[0], masses[1]):
        raise subject.failed(f"counts padding in its masses: other values at padded tokens change them{built.words}.")
    for name, loss in losses[0].items():
        if not same(loss, losses[1][name]):
            raise subject.failed(
                f"counts padding in its loss '{name}': other values at padded tokens change it from "
                f"{number(loss):.6g} to {number(losses[1][name]):.6g}{built.words}."
            )


def _compare_outputs(subject: Subject, built: Built, got: Tensor, want: Tensor, *, training: bool) -> None:
    if same(got, want):
        return
    if training:
        subject.note("in training mode padding has a say in the outputs of real tokens.")
        return
    raise subject.failed(
        f"lets padding speak: other values at padded tokens change the outputs of real ones "
        f"{difference_at(got, want)}{built.words}."
    )


def check_calls_share_no_state(subject: Subject) -> None:
    """compute() follows the routing it is handed, whatever was routed since."""
    for built in subject.trials():
        layer, x_BTD, other_BTD = built.layer, subject.inputs(), subject.inputs(seed=7)
        want = layer(x_BTD)
        routing = layer.route(x_BTD, Context())
        layer(other_BTD)
        got = layer.compute(x_BTD, routing)
        if not same(got, want):
            raise subject.failed(
                f"keeps its routing to itself: compute(x, routing) changes {difference_at(got, want)} when "
                f"another input is routed in between{built.words}."
            )


def check_inference_mode_leaves_nothing(subject: Subject) -> None:
    """After a pass in inference mode it still trains."""
    for built in subject.trials():
        try:
            with torch.inference_mode():
                built.layer(subject.inputs())
            built.layer.train()(subject.inputs()).square().sum().backward()
        except Exception as error:
            raise subject.failed(
                f"cannot train after a pass in inference mode{built.words}: {type(error).__name__}: {error}"
            ) from None
