"""One way to keep a model: what training changes of it is written, read, and compared with what the run answered."""

import dataclasses
import io
from collections import deque

import numpy as np
import pytest
import torch
from torch import Generator, nn

from hand_made import SMALL_BUDGET, SMALL_HOST
from moebench.errors import ResultsError
from moebench.plugins.find import find_variant
from moebench.plugins.identity import code_identity
from moebench.protocol import PROTOCOL
from moebench.records import Cell, Store
from moebench.runner.job import Job
from moebench.runner.model import build
from moebench.runner.run_cell import run_cell
from moebench.runner.trained import load_trained
from moebench.runner.weights import load_weights
from moebench.tasks import get_task
from moebench.training.model_state import UnkeptError, from_bytes, put_state, size_given, state_of, to_bytes
from moebench.training.snapshot import Snapshot, TrainingState

MODULES = """
import torch
from torch import nn
from moebench import wrap


class Block(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.a, self.b, self.steps = nn.Linear(dim, hidden), nn.Linear(hidden, dim), 0
        {init}

    def forward(self, x):
        if self.training:
            self.steps += 1
            {step}
        return self.b(self.a(x).relu()) + {shift} * torch.linspace(-1, 1, x.shape[-1])

    {more}


mine = wrap(Block, name="mine")
"""
PLAIN = {"init": "pass", "step": "pass", "shift": "0", "more": "pass"}
STATES = {
    "hidden buffer": {
        "init": "self.register_buffer('s', torch.zeros(1), persistent=False)",
        "step": "self.s = self.s + 0.2",
        "shift": "self.s",
    },
    "plain tensor": {"init": "self.s = torch.zeros(dim)", "step": "self.s = self.s + 0.2", "shift": "self.s"},
    "counter": {"shift": "0.2 * self.steps"},
    "list": {"init": "self.s = [0.0, {'k': (1.0,)}]", "step": "self.s[0] += 0.2", "shift": "self.s[0]"},
    "extra state": {
        "init": "self.s = type('S', (), {'v': 0.0})()",
        "step": "self.s.v += 0.2",
        "shift": "self.s.v",
        "more": "get_extra_state = lambda self: {'v': self.s.v}\n"
        "    set_extra_state = lambda self, given: setattr(self.s, 'v', given['v'])",
    },
    "transposed": {"init": "self.a.weight = nn.Parameter(torch.randn(dim, hidden).mul(0.1).t())"},
    "channels last": {
        "init": "self.c = nn.Parameter(torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last))",
        "shift": "self.c.mean()",
    },
}
OBJECT = {"init": "self.s = type('S', (), {'v': 0.0})()", "step": "self.s.v += 0.2", "shift": "self.s.v"}
CPU = torch.device("cpu")


def job_of(folder, name, state):
    called = name.replace(" ", "_")
    (folder / f"{called}.py").write_text(MODULES.format(**{**PLAIN, **state}).replace('"mine"', f'"{called}"'))
    spec, digits = f"{folder / called}.py:mine", get_task("digits")
    cell = Cell(
        kind="final",
        protocol=PROTOCOL,
        task="digits",
        data_digest=digits.digest(),
        split=digits.split,
        host=SMALL_HOST,
        variant=called,
        code_digest=code_identity(find_variant(spec)),
        settings={"lr": 5e-3, "weight_decay": 0.1},
        axis="total",
        budget=SMALL_BUDGET,
        seed=1,
        steps=12,
        batch=32,
        micro_batch=None,
        precision="fp32",
        threads=1,
    )
    return Job(
        cell=cell, row=called, spec=spec, label=called, suite="toy", results=folder, device="cpu", save_weights=True
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("kept")


def loaded(job):
    """The model that is built anew and given the kept weights, and the run's record."""
    record, model = run_cell(job), build(job, CPU).model
    assert record.status == "done", record.reason
    assert load_weights(model, Store(job.results), record.identity, CPU)
    return model.eval(), record


@pytest.mark.parametrize("kind", STATES)
def test_a_kept_model_answers_as_it_did_when_it_was_scored(folder, kind):
    model, record = loaded(job_of(folder, kind, STATES[kind]))
    assert "weights" not in record.details
    data = get_task("digits").load("test")
    with torch.no_grad():
        right = model(data.inputs).outputs["class"].argmax(1) == data.targets["class"]
    assert right.float().mean().item() == pytest.approx(record.scores["test_accuracy"], abs=1e-6)


def test_a_model_with_state_that_no_file_holds_is_refused(folder):
    with pytest.raises(ResultsError) as caught:
        loaded(job_of(folder, "object", OBJECT))
    assert caught.value.code == "weights-answer-otherwise"


def test_what_cannot_be_kept_costs_the_weights_and_a_sentence_and_not_the_run(folder):
    job = job_of(folder, "unwritable", {"more": "get_extra_state = lambda self: object()"})
    record = run_cell(job)
    assert record.status == "done"
    assert "object" in record.details["weights"]
    with pytest.raises(ResultsError, match="type object") as caught:
        load_trained(Store(folder), record, CPU)
    assert caught.value.code == "no-weights"


def test_weights_of_another_run_are_refused(folder):
    job = job_of(folder, "list", STATES["list"])
    record, store = run_cell(job), Store(folder)
    other = dataclasses.replace(job, cell=dataclasses.replace(job.cell, seed=2))
    run_cell(other)
    store.weights_path(record.identity).write_bytes(store.weights_path(other.cell.identity).read_bytes())
    with pytest.raises(ResultsError) as caught:
        load_weights(build(job, CPU).model, store, record.identity, CPU)
    assert caught.value.code == "weights-answer-otherwise"


class Everything(nn.Module):
    """One of each kind of state."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.arange(6.0).view(2, 3).t())
        self.tied = self.w
        self.register_buffer("shown", torch.zeros(2))
        self.register_buffer("hidden", torch.zeros(2), persistent=False)
        self.register_buffer("none", None)
        self.plain, self.count, self.on, self.called = torch.zeros(2), 0, False, "a"
        self.noise, self.average = Generator().manual_seed(1), np.zeros(3)
        self.window, self.nested = deque([1.0], maxlen=2), {"a": [1, (2.0, None)], 3: b"x"}
        self.scale = np.float32(1)

    def get_extra_state(self):
        return {"t": torch.ones(2), "n": self.count}

    def set_extra_state(self, state):
        self.extra = state

    def change(self):
        with torch.no_grad():
            for tensor in (self.w, self.shown, self.hidden, self.plain):
                tensor.add_(1)
        self.count, self.on, self.called = 3, True, "b"
        self.average += 2
        self.window.extend([2.0, 3.0])
        self.nested["a"][0] = 9
        self.scale = np.float32(0.5)
        self.none = torch.ones(4)
        self.later = torch.ones(1)
        torch.rand(1, generator=self.noise)


def test_all_kinds_of_state_go_there_and_back():
    one, other = Everything(), Everything()
    one.change()
    plain = other.plain
    put_state(other, from_bytes(to_bytes(state_of(one), {"about": "x"}))[0])
    for name in ("w", "tied", "shown", "hidden", "none", "plain", "later"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    for name in ("count", "on", "called", "window", "nested", "scale"):
        assert getattr(one, name) == getattr(other, name)
        assert type(getattr(one, name)) is type(getattr(other, name))
    assert (one.average == other.average).all()
    assert other.window.maxlen == 2
    assert torch.equal(torch.rand(3, generator=one.noise), torch.rand(3, generator=other.noise))
    assert other.plain is plain
    assert other.w is other.tied
    assert not other.w.is_contiguous()
    assert other.extra["n"] == 3
    assert torch.equal(other.extra["t"], torch.ones(2))


def test_a_checkpoint_keeps_the_same():
    one, other = Everything(), Everything()
    one.change()
    states = [TrainingState(model, torch.optim.AdamW(model.parameters()), Generator(), {}) for model in (one, other)]
    states[1].restore(Snapshot(1, 0.0, states[0].tensors(1)))
    assert (other.count, other.called) == (3, "b")
    assert torch.equal(one.hidden, other.hidden)


def test_a_state_of_another_model_changes_nothing():
    one, other = Everything(), nn.Linear(2, 3)
    before = other.weight.clone()
    with pytest.raises(ValueError, match="is missing or of another shape"):
        put_state(other, state_of(one))
    assert torch.equal(before, other.weight)


def test_extra_state_that_has_no_spelling_is_refused_with_its_type():
    class Odd(Everything):
        def get_extra_state(self):
            return object()

    with pytest.raises(UnkeptError, match="type object"):
        state_of(Odd())


def test_reading_weights_executes_nothing_and_damage_is_a_sentence():
    for content in (b"", b"half", b"\xff" * 100, to_bytes(state_of(Everything()))[:-1]):
        with pytest.raises(ValueError, match="safetensors"):
            from_bytes(content)


@pytest.mark.parametrize("end", ["Infinity", "1e400", "NaN", "null", "[]"])
def test_a_header_without_a_size_says_none(end):
    header = f'{{"x": {{"data_offsets": [0, {end}]}}}}'.encode()
    assert size_given(io.BytesIO(len(header).to_bytes(8, "little") + header)) == -1
