"""A layer can be saved, copied and sent to another process, and only training changes it."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import torch
from torch import Tensor

from moebench.checks.compare import difference_at, listed
from moebench.checks.outcome import one_line
from moebench.checks.subject import BuiltLayer, CheckSubject
from moebench.checks.toy import adam, auxiliary, steps_of, train
from moebench.contract import Context, Layer
from moebench.training.model_state import from_bytes, put_state, state_of, to_bytes
from moebench.training.snapshot import Snapshot, TrainingState

STEPS = 2

FEW = 16
"""Numbers an expert, in buffers that training changes."""


def check_state_dict_round_trip(subject: CheckSubject) -> None:
    """A trained layer's state_dict, loaded into a new one, gives the same outputs."""
    for built in subject.trials():
        train(built.layer, built.settings, subject.inputs(), STEPS)
        other = subject.build(built.settings, seed=11).eval()
        try:
            other.load_state_dict(built.layer.state_dict())
        except Exception as error:
            raise built.failed(f"cannot load its own state_dict ({str(error).splitlines()[-1].strip()})") from None
        _expect_twin(subject, built, other, "loaded from its state_dict")


def check_weights_can_be_kept(subject: CheckSubject) -> None:
    """What training leaves of a layer can be written and read, and gives the same outputs in a new layer."""
    for built in subject.trials():
        train(built.layer, built.settings, subject.inputs(), STEPS)
        other = subject.build(built.settings, seed=11).eval()
        try:
            put_state(other, from_bytes(to_bytes(state_of(built.layer)))[0])
        except Exception as error:
            raise built.failed(f"cannot be kept ({one_line(error)})") from None
        _expect_twin(subject, built, other, "read from the weights that were kept of it")


def check_resume(subject: CheckSubject) -> None:
    """A training that stops goes on from its checkpoint, in a new layer, as if it had not stopped."""
    for built in subject.trials():
        straight = built.layer
        training = TrainingState(straight, adam(straight), torch.Generator(), {})
        torch.manual_seed(1)
        steps_of(straight, built.settings, subject.inputs(), STEPS, training.optimizer)
        kept = Snapshot(STEPS, 0.0, training.tensors(STEPS))
        steps_of(straight, built.settings, subject.inputs(), STEPS, training.optimizer)
        other = subject.build(built.settings, seed=11)
        resumed = TrainingState(other, adam(other), torch.Generator(), {})
        resumed.restore(kept)
        steps_of(other, built.settings, subject.inputs(), STEPS, resumed.optimizer)
        if changed := _changed(resumed.tensors(STEPS), training.tensors(STEPS)):
            names = [name.removeprefix("model/") for name in changed if name.startswith("model/")] or changed
            raise built.failed(
                "does not go on from a checkpoint as it would have without one (what training changes has to be a "
                f"parameter or a buffer): {listed(names)} differ"
            )


def check_deepcopy(subject: CheckSubject) -> None:
    """A copy made after a training step gives the same outputs and shares nothing with the original."""
    for built in subject.trials():
        other = _duplicate(subject, built, copy.deepcopy, "deepcopied")
        want = built.layer(subject.inputs()).detach()
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.zero_()
        got = built.layer(subject.inputs())
        if not torch.equal(got, want):
            raise built.failed(
                f"shares weights with its deep copy: zeroing the copy's changes it {difference_at(got, want)}"
            )


def check_pickle(subject: CheckSubject) -> None:
    """A layer pickled after a training step gives the same outputs when it is read back."""
    for built in subject.trials():
        _duplicate(subject, built, lambda layer: pickle.loads(pickle.dumps(layer)), "pickled and read back")


def _duplicate(subject: CheckSubject, built: BuiltLayer, make: Callable[[Layer], Layer], how: str) -> Layer:
    train(built.layer, built.settings, subject.inputs(), STEPS)
    routing = built.layer.train().route(subject.inputs(), Context())
    loss = built.layer.compute(subject.inputs(), routing).square().mean() + auxiliary(routing, built.settings)
    torch.autograd.backward(loss, retain_graph=True)
    # With the graph of a backward pass still alive, whatever the layer keeps of it stands in the way.
    with built.expect_no_error(f"cannot be {how}"):
        other = make(built.layer)
    del routing, loss
    built.layer.eval()
    other.eval()
    _expect_twin(subject, built, other, how)
    return other


def _expect_twin(subject: CheckSubject, built: BuiltLayer, other: Layer, how: str) -> None:
    got, want = other(subject.inputs()), built.layer(subject.inputs())
    if not torch.equal(got, want):
        raise built.failed(f"gives other outputs when {how}, {difference_at(got, want)}")


def check_eval_changes_nothing(subject: CheckSubject) -> None:
    """A pass in eval mode changes no parameter and no buffer, and no later step knows of it."""
    for built in subject.trials():
        layer = built.layer
        before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
        layer(subject.inputs())
        if changed := _changed(before, layer.state_dict()):
            raise built.failed(f"changes {listed(changed)} in a pass in eval mode")
        quiet, disturbed = copy.deepcopy(layer), copy.deepcopy(layer)
        for each in (quiet, disturbed):
            torch.manual_seed(1)
            each.train()(subject.inputs())
            if each is disturbed:
                each.eval()(subject.inputs(seed=5))
                each.train()
            each.after_step()
        if changed := _changed(quiet.state_dict(), disturbed.state_dict()):
            raise built.failed(f"lets a pass in eval mode change what after_step() does to {listed(changed)}")


def _changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> list[str]:
    return [name for name in after if name not in before or not torch.equal(before[name], after[name])]


def check_training_pass_leaves_weights(subject: CheckSubject) -> None:
    """A forward pass in training changes no trained parameter: the optimiser does that."""
    for built in subject.trials():
        layer = built.layer.train()
        before = {name: p.detach().clone() for name, p in layer.named_parameters() if p.requires_grad}
        layer.compute(subject.inputs(), layer.route(subject.inputs(), Context()))
        if changed := [name for name in before if not torch.equal(layer.get_parameter(name), before[name])]:
            raise built.failed(f"changes {listed(changed)} in a forward pass in training")


def check_integer_buffers_are_counts(subject: CheckSubject) -> None:
    """Integer and boolean buffers that training changes are few: counts and marks, no weights."""
    for built in subject.trials():
        layer = built.layer
        before = {name: buffer.clone() for name, buffer in layer.named_buffers() if not _is_counted(buffer)}
        train(layer, built.settings, subject.inputs(), STEPS)
        after = dict(layer.named_buffers())
        changed = {name: after[name].numel() for name in before if not torch.equal(after[name], before[name])}
        if sum(changed.values()) > FEW * max(1, layer.num_experts):
            raise built.failed(
                f"trains {sum(changed.values()):,} numbers in the integer buffers {listed(list(changed))}, where they "
                "are not counted as parameters"
            )


def _is_counted(buffer: Tensor) -> bool:
    """Whether the rule on buffers counts it already."""
    return buffer.is_floating_point() or buffer.is_complex()


def check_after_step(subject: CheckSubject) -> None:
    """after_step() works after every step and before the first one, and leaves trained weights alone."""
    for built in subject.trials():
        layer = built.layer.train()
        before = {name: p.detach().clone() for name, p in layer.named_parameters() if p.requires_grad}
        with built.expect_no_error("fails in after_step()"):
            layer.after_step()
            layer(subject.inputs())
            layer.after_step()
        if changed := [name for name in before if not torch.equal(layer.get_parameter(name), before[name])]:
            raise built.failed(f"changes {listed(changed)} in after_step(), which the optimiser trains")
