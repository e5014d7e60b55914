"""Importing, building and running a variant leaves the process as it was."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from moebench.checks import process_state as world
from moebench.checks.compare import listed
from moebench.checks.subject import CheckSubject
from moebench.contract import Context, Layer
from moebench.plugins.surroundings import functions, put_back, replaced
from moebench.plugins.torch_settings import TORCH_SETTINGS, Global
from moebench.text import told

SENTINEL = 1_234_567
"""A seed that nobody else would choose."""

TORCH_SEED = Global("the seed of torch's default generator", torch.initial_seed, torch.manual_seed, SENTINEL)


def check_random_states(subject: CheckSubject) -> None:
    """NumPy's and Python's random state are untouched, and torch's default generator is never seeded."""
    things = (world.PYTHON_RANDOM, world.NUMPY_RANDOM, TORCH_SEED)
    _expect_unchanged(subject, things, "draw from torch's default generator only")


def check_environment(subject: CheckSubject) -> None:
    """Environment variables and the working directory are untouched."""
    with world.environment_writes() as written:
        _expect_unchanged(subject, (world.ENVIRONMENT, world.DIRECTORY), "leave them to the user", written)


def check_torch_settings(subject: CheckSubject) -> None:
    """Threads, default dtype and device, grad mode, autocast and the like are untouched."""
    _expect_unchanged(subject, TORCH_SETTINGS, "they belong to the harness")


def check_functions(subject: CheckSubject) -> None:
    """Functions of torch and of the harness are those that they were."""
    for phase, act in _life(subject):
        before = functions()
        act()
        if names := replaced(before):
            put_back(before)
            raise subject.failed(f"replaces {listed(names)} in {phase}; others are trained and scored with them")


def _expect_unchanged(
    subject: CheckSubject, things: tuple[Global, ...], remedy: str, written: set[str] | None = None
) -> None:
    for phase, act in _life(subject):
        # Set to what hardly any code would choose, or else setting the same a second time would go unseen.
        for thing in things:
            if thing.neutral is not None:
                thing.write(thing.neutral)
        before = [(thing, thing.read()) for thing in things]
        if written is not None:
            written.clear()
        act()
        changed = [text for thing, value in before if (text := world.changed_value(thing, value))]
        if written and not changed:
            changed = [f"the environment ({', '.join(sorted(written))})"]
        if changed:
            raise subject.failed(f"changes {listed(changed)} in {phase}; {remedy}")


def _life(subject: CheckSubject) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What happens to a variant, step by step: (where, what)."""
    settings = subject.defaults()
    size = subject.sizes(settings)[0]
    made: list[Layer] = []
    outputs: list[Tensor] = []

    def run() -> None:
        outputs.append(made[0].compute(subject.inputs(), made[0].route(subject.inputs(), Context())))

    def make_again() -> None:
        with suppress(TypeError):  # one that needs arguments was made by its author
            type(subject.variant)()

    yield "the import of its module", lambda: _import_again(subject)
    yield "its making", make_again
    yield "space()", lambda: subject.variant.space(subject.shape)
    yield "build()", lambda: made.append(subject.variant.layer(subject.shape, size, settings))
    yield "a forward pass in training mode", run
    yield "a backward pass", lambda: torch.autograd.backward(outputs[0].square().mean())
    yield "after_step()", lambda: made[0].after_step()
    made[0].eval()
    yield "a forward pass in eval mode", run


def _import_again(subject: CheckSubject) -> None:
    """Run the module's code once more, in a module that nobody sees, to watch an import that is long past."""
    spec = getattr(sys.modules.get(type(subject.variant).__module__), "__spec__", None)
    if spec is None or not str(spec.origin).endswith(".py"):
        return
    again = importlib.util.spec_from_file_location(spec.name, spec.origin)
    if again is None or again.loader is None:
        return
    try:
        again.loader.exec_module(importlib.util.module_from_spec(again))
    except Exception as error:
        subject.note(f"its module cannot be imported twice ({told(error)}).")
