"""Layers that change what is not theirs, or remember what they should not: found by their checks, and unranked."""

from __future__ import annotations

from pathlib import Path
from types import CellType, FunctionType

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from moebench.checks.process_state import environment_writes
from moebench.checks.run import run_checks
from moebench.plugins.surroundings import Surroundings, functions, put_back, replaced
from moebench.records import Store
from tiny import run_tiny, write_plugin, write_suite

HEAD = """
import torch
from torch.nn import functional as F
import moebench.training.loop as loop

CALLS, LAST = [0], []
genuine, trains = F.cross_entropy, loop.train


def cheaper(*args, **options):
    return genuine(*args, **options) * 0.5


def counted(y):
    CALLS[0] += 1
    return y * (1 + CALLS[0])


def with_the_last_batch(y):
    LAST.append(y[:1, :1].detach())
    return y + LAST[max(0, len(LAST) - 2)]
"""
KINDS = {
    "patches_torch": ("F.cross_entropy = cheaper", "pass", ""),
    "patches_moebench": ("loop.train = lambda *args, **options: trains(*args, **options)", "pass", ""),
    "threads": ("pass", "torch.set_num_threads(2)", ""),
    "switches": ("pass", "torch.backends.cudnn.benchmark = True", ""),
    "counts": ("pass", "pass", "counted"),
    "remembers": ("pass", "pass", "with_the_last_batch"),
}
"""At import, in training, and what its output goes through."""

CODES = {
    "patches_torch": "audit_replaced",
    "patches_moebench": "audit_replaced",
    "threads": "audit_settings",
    "switches": "audit_settings",
    "counts": "audit_repeat",
    "remembers": "audit_repeat",
}
CHECKS = {
    "patches_torch": "functions",
    "patches_moebench": "functions",
    "threads": "torch_settings",
    "switches": "torch_settings",
}
"""The check that fails; of those that act in large batches of training alone none does, and the audit finds them."""


def plugin(folder: Path, name: str, *, always: bool = False) -> str:
    at_import, in_training, through = KINDS[name]
    spec = write_plugin(folder, name, in_training=in_training)
    path = Path(spec.rpartition(":")[0])
    text = path.read_text()
    if always:
        text = text.replace("if self.training and len(x_BTD) > 4:", "if True:")
    if through:
        text = text.replace("return self.b(self.a(x_BTD).relu())", f"return {through}(self.b(self.a(x_BTD).relu()))")
    path.write_text(f"{HEAD}\n{at_import}\n{text}")
    return spec


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    folder = tmp_path_factory.mktemp("meddling")
    specs = [plugin(folder, name) for name in KINDS]
    session = run_tiny(write_suite(folder, steps=2), folder / "results", variants=specs, trials=1, seeds=1)
    assert Store(folder / "results").identities()
    return {entry.variant: entry for entry in session.board.entries}


@pytest.mark.parametrize("name", KINDS)
def test_a_row_that_meddles_is_unranked_with_the_reason(board, name):
    assert board["dense"].rank is not None
    assert board[name].rank is None
    assert board[name].reason.code == CODES[name], board[name].reason.sentence


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_of_it_fails(tmp_path, name):
    report = run_checks(plugin(tmp_path, name, always=True), [CHECKS[name]])
    assert [row.name for row in report.failures] == [CHECKS[name]]


def test_what_is_replaced_is_named_and_put_back():
    before = functions()
    around = Surroundings()
    genuine, backward = F.cross_entropy, torch.Tensor.backward
    assert replaced(before) == []
    F.cross_entropy, torch.Tensor.backward = print, print
    try:
        assert replaced(before) == around.replaced() == ["torch.Tensor.backward", "torch.nn.functional.cross_entropy"]
    finally:
        put_back(before)
    assert (F.cross_entropy, torch.Tensor.backward) == (genuine, backward)
    assert around.replaced() == around.changed() == []


def test_work_of_the_harness_replaces_nothing():
    around = Surroundings()
    model = nn.Linear(3, 2)
    F.cross_entropy(model(torch.randn(4, 3)), torch.zeros(4, dtype=torch.long)).backward()
    torch.optim.AdamW(model.parameters()).step()
    assert around.replaced() == around.changed() == []


COMPILED = """
import torch
from moebench.contract import Layer, Routing, Variant


def activated(x):
    return torch.nn.functional.gelu(x) * 1.0


class Compiled(Variant):
    name = "compiled"
    causal = True

    def build(self, shape, size):
        return Two(shape, size)


class Two(Layer):
    def __init__(self, shape, size):
        super().__init__()
        self.a, self.b = torch.nn.Linear(shape.dim, size), torch.nn.Linear(size, shape.out_dim)

    def route(self, x_BTD, context):
        return Routing()

    def compute(self, x_BTD, routing, keep_BE=None):
        return self.b(torch.compile(activated, backend="eager")(self.a(x_BTD)))
"""


def test_a_layer_may_use_torch_compile(tmp_path: Path) -> None:
    """The compiler puts functions of its own around some of torch's, and sets variables for its caches."""
    path = tmp_path / "compiled.py"
    path.write_text(COMPILED)
    report = run_checks(f"{path}:Compiled")
    assert not report.failures
    session = run_tiny(
        write_suite(tmp_path, steps=2), tmp_path / "r", variants=[f"{path}:Compiled"], trials=1, seeds=1, check=True
    )
    assert session.board.entry("compiled").rank is not None


def test_a_wrapper_that_calls_what_hangs_at_the_function_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    before, genuine = functions(), F.cross_entropy
    wrapper = torch._disable_dynamo(genuine)
    monkeypatch.setattr(F, "cross_entropy", wrapper)
    assert replaced(before) == []
    monkeypatch.setattr(genuine, "__dynamo_disable", lambda *given: torch.tensor(7.0), raising=False)
    assert float(F.cross_entropy(torch.zeros(1, 2), torch.zeros(1))) == 7
    assert replaced(before) == ["torch.nn.functional.cross_entropy"]


def test_a_wrapper_that_calls_nothing_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    before = functions()
    real = torch._disable_dynamo(F.cross_entropy)
    cells = tuple(CellType() for _ in real.__closure__)
    monkeypatch.setattr(F, "cross_entropy", FunctionType(real.__code__, real.__globals__, closure=cells))
    assert replaced(before) == ["torch.nn.functional.cross_entropy"]


@pytest.mark.parametrize("name", ["TRITON_INTERPRET", "TORCHINDUCTOR_MAX_AUTOTUNE"])
def test_variables_that_change_what_others_compute_are_not_the_compilers(name: str) -> None:
    with environment_writes() as written, pytest.MonkeyPatch.context() as patch:
        patch.setenv(name, "1")
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", "/nowhere")
    assert written == {name}


@pytest.mark.parametrize("forged", ["", "calls another", "has names of its own"])
def test_a_function_of_the_compiler_is_known_by_its_code_its_names_and_what_it_calls(
    forged: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch import _dynamo

    before, genuine = functions(), F.cross_entropy
    found = _dynamo.disable(genuine if not forged else lambda *given: genuine(*given) * 0.5)
    if forged.startswith("has"):
        whole = _dynamo.disable(genuine)
        found = FunctionType(whole.__code__, {**whole.__globals__}, closure=whole.__closure__)
    monkeypatch.setattr(F, "cross_entropy", found)
    assert replaced(before) == ([] if not forged else ["torch.nn.functional.cross_entropy"])
