"""A bug in an author's layer shows the author's line: in a plan, in a record, on the terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from moebench import wrap
from moebench.budgets import try_step
from moebench.cli.main import cli
from moebench.contract import LayerShape
from moebench.errors import LayerError
from moebench.frames import frames_of, raised, short_traceback, where
from moebench.plans.make import make_plan
from moebench.records import Store
from moebench.runner.not_done import not_done
from moebench.text import plain_console
from plans import ALONE, a_request
from tiny import run_tiny, write_plugin, write_suite

HELPER = """
import torch

def misuse(x):
    return torch.cat([x, x[:, :1]], 2)
"""


def caught(call):
    with pytest.raises(Exception) as info:  # noqa: PT011 - whatever it is
        call()
    return info.value


def test_the_lines_of_the_author_are_apart_from_those_of_the_frameworks():
    import torch

    error = caught(lambda: torch.nn.Linear(3, 4)(torch.zeros(2, 5)))
    frames = frames_of(error)
    assert any("torch" in frame["file"] for frame in frames)
    own = [frame for frame in frames if frame["own"]]
    assert {Path(frame["file"]).name for frame in own} == {"test_frames.py"}
    assert where(frames) == f" at test_frames.py, line {own[-1]['line']}"
    assert "torch.nn.Linear(3, 4)" in own[-1]["text"]
    lines = short_traceback(frames)
    assert len(lines) == 2 * len(own)
    assert len(short_traceback(frames, whole=True)) > len(lines)
    assert json.loads(json.dumps(frames)) == [*frames], "they travel as JSON"


def test_what_no_author_raised_has_no_line():
    error = ValueError("bad")
    assert raised(error) == "ValueError: bad"
    assert short_traceback(frames_of(error)) == []


def test_a_long_traceback_has_its_first_line_and_its_last():
    def down(n):
        return 1 / 0 if n == 0 else down(n - 1)

    lines = short_traceback(frames_of(caught(lambda: down(20))))
    assert len(lines) == 12
    assert "in caught" in lines[0]
    assert "in down" in lines[-2]


@pytest.fixture
def failing(tmp_path):
    """A file whose layer calls a helper that raises, in training and in the trial step of planning."""
    spec = write_plugin(tmp_path, "mine")
    path = Path(spec.rpartition(":")[0])
    path.write_text(
        f"from beside import misuse\n{path.read_text()}".replace("self.b(self.a(x_BTD).relu())", "misuse(x_BTD)")
    )
    (tmp_path / "beside.py").write_text(HELPER)
    return spec


def test_a_layer_that_cannot_take_a_step_is_found_while_it_is_planned(failing):
    plan = make_plan(a_request([failing], **ALONE))
    (group,) = plan.groups_of("mine")
    assert group.broken
    assert group.problem.startswith("mine: Plain.compute() raised RuntimeError: ")
    assert group.problem.endswith(" at beside.py, line 5")
    own = [frame["name"] for frame in plan.frames()["mine digits"] if frame["own"]]
    assert own == ["Plain.compute", "misuse"]


def test_a_layer_that_fails_in_training_alone_is_found_there_too(failing):
    """Counting FLOPs runs a layer, too, and not in training mode."""
    path = Path(failing.rpartition(":")[0])
    text = path.read_text()
    assert "return misuse(x_BTD)" in text
    path.write_text(
        text.replace("return misuse(x_BTD)", "return misuse(x_BTD) if self.training else x_BTD + self.a.bias.sum()")
    )
    (group,) = make_plan(a_request([failing], **ALONE)).groups_of("mine")
    assert group.problem.startswith("mine: Plain.compute() raised RuntimeError: "), group.problem


@pytest.mark.parametrize("result", ["x[..., :3]", "(x, 0, 0)", "x.mean(1)"])
def test_an_output_of_another_shape_is_said_before_training(result):
    from torch import nn

    class Odd(nn.Module):
        def __init__(self, dim, hidden):
            super().__init__()
            self.a = nn.Linear(dim, hidden)

        def forward(self, x):
            x = x + self.a(x).sum()
            return eval(result)

    variant = wrap(Odd, name="odd", aux_weight=1.0)
    shape = LayerShape(dim=8, out_dim=8, tokens=4)
    error = caught(lambda: try_step(variant, shape, 4, variant.space(shape).defaults()))
    assert isinstance(error, LayerError | ValueError)
    if isinstance(error, LayerError):
        assert error.code == "output-shape"


def test_where_only_rows_that_cannot_run_were_asked_for_dense_is_not_trained(failing, tmp_path):
    session = run_tiny(write_suite(tmp_path, steps=2), tmp_path / "results", variants=(failing,), trials=1, seeds=1)
    assert [*Store(tmp_path / "results").records()] == []
    assert [label for label, *_ in session.unfinished] == ["mine digits"]
    assert session.frames["mine digits"]


def test_an_error_in_training_is_in_its_record_and_grouped_on_the_terminal(tmp_path):
    spec = write_plugin(tmp_path, "dies", in_training="raise RuntimeError('my layer broke')")
    suite = write_suite(tmp_path, steps=2)
    words = ["run", suite, "--results", str(tmp_path / "results"), "--no-mlflow", "--variant", spec, "--seeds", "1"]
    shown = CliRunner().invoke(cli, words, standalone_mode=False)
    assert shown.return_value == 1
    failed = [record for record in Store(tmp_path / "results").records() if record.status == "error"]
    assert len(failed) == 2
    for record in failed:
        assert record.reason.startswith("Plain.compute() raised RuntimeError: my layer broke at dies.py, line ")
        (own,) = [frame for frame in record.details["frames"] if frame["own"]]
        assert own["text"] == "raise RuntimeError('my layer broke')"
    lines = shown.stderr.splitlines()
    (at,) = [n for n, line in enumerate(lines) if line.startswith("dies digits trial 0, dies digits trial 1  error: ")]
    assert lines[at + 1].endswith(", in Plain.compute")
    assert lines[at + 2].strip() == "raise RuntimeError('my layer broke')"
    first = next(line for line in lines if line.startswith("[1/"))
    assert "dies digits trial" in first, "what another author wrote runs first"
    assert "/torch/" not in shown.stderr
    again = CliRunner().invoke(cli, [*words, "--debug"], standalone_mode=False)
    assert "run_cell.py" in again.stderr


def test_an_error_on_import_shows_the_line_too(tmp_path, capsys):
    (tmp_path / "mine.py").write_text("from moebench.contract import Variant\n\nbroken = 1 / 0\n")
    plan = make_plan(a_request([f"{tmp_path}/mine.py:Mine"], **ALONE))
    (row,) = [row for row in plan.rows if row.problem]
    plain_console().print(not_done(list(plan.cannot_run()), plan.frames()))
    assert row.problem.endswith("division by zero) at mine.py, line 3.")
    assert "broken = 1 / 0" in capsys.readouterr().out


def test_mlflow_has_the_lines_as_a_text(tmp_path):
    from moebench.mlflow_store.runs import _traceback
    from moebench.records import Record

    frame = {"file": str(tmp_path / "mine.py"), "line": 3, "name": "Mine.route", "text": "x = 1 / 0", "own": True}
    failed = Record.model_construct(status="error", reason="it raised.", details={"frames": [frame]})
    assert _traceback(failed)["traceback.txt"].splitlines()[1:] == ["    x = 1 / 0", "it raised."]
    assert _traceback(Record.model_construct(status="done", details={})) == {}


def test_the_line_of_a_cell_is_found_where_the_notebook_is():
    import linecache

    linecache.cache["/tmp/ipykernel_1/2.py"] = (20, None, ["a = 1\n", "broken()\n"], "/tmp/ipykernel_1/2.py")
    frame = {"file": "/tmp/ipykernel_1/2.py", "line": 2, "name": "Mine.route", "text": "", "own": True}
    assert short_traceback([frame])[1].strip() == "broken()"


def test_check_and_plan_show_the_line(failing, tmp_path):
    from moebench import check

    (report,) = check(failing)
    (failure,) = report.failures  # what the others rest on
    assert "Sizes of tensors must match" in failure.message
    assert failure.message.endswith(" at beside.py, line 5")
    suite = write_suite(tmp_path)
    done = CliRunner().invoke(cli, ["plan", suite, "--variant", failing, "--results", str(tmp_path / "r")])
    assert "return torch.cat([x, x[:, :1]], 2)" in done.output
