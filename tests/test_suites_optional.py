"""Parts of a series that are left out, with the reason, where their data set is not there."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from torchvision.datasets import MNIST

from moebench.cli.plan import command
from moebench.errors import DataError, SuiteError
from moebench.experiment import run_experiment
from moebench.plans.cache import plan_all
from moebench.runner.options import RunOptions
from moebench.runner.progress import Progress
from moebench.suites import load_experiment
from moebench.suites.request import ask

PART = """
title = "A part on {task}"
seeds = 1
[training]
steps = 2
batch = 8
optimiser = "adam"
lr = 1e-3
[[row]]
name = "dense"
task = "{task}"
host = {{ name = "single_layer", grid = 2 }}
variant = "dense"
width = 8
"""


@pytest.fixture(autouse=True)
def no_data(tmp_path, monkeypatch):
    """An empty home without network."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("MOEBENCH_DATA", raising=False)
    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/"])


def series(folder, optional, parts=("digits", "mnist")):
    for task in parts:
        (folder / f"on-{task}.toml").write_text(PART.format(task=task))
    path = folder / "both.toml"
    names = [str(folder / f"on-{task}.toml") for task in parts]
    chosen = [str(folder / f"on-{task}.toml") for task in optional]
    path.write_text(f'title = "both"\nparts = {names}\noptional = {chosen}\n'.replace("'", '"'))
    return str(path)


def test_a_run_leaves_an_optional_part_out_and_says_why(tmp_path):
    asked = ask(series(tmp_path, ["mnist"]))
    found = run_experiment(asked, RunOptions(results=tmp_path / "results", mlflow=False, workers=1), Progress())
    assert [plan.suite.name for plan in found.plans] == ["on-digits"]
    assert (found.unfinished, len(found.warnings)) == ((), 1)
    assert "on-mnist" in found.warnings[0]
    assert "MNIST is not in" in found.warnings[0]


def test_the_plan_goes_without_it(tmp_path):
    words = [series(tmp_path, ["mnist"]), "--results", str(tmp_path / "results")]
    result = CliRunner().invoke(command, words, catch_exceptions=False, standalone_mode=False)
    assert result.return_value == 0
    assert "on-mnist" in result.stderr


def making(lacking, code="data-missing"):
    """Plans of all but the suites on these tasks."""

    def make(request):
        if request.suite.name.removeprefix("on-") in lacking:
            raise DataError("its data are not as they should be.", code=code)
        return request.suite.name

    return make


@pytest.mark.parametrize(
    ("optional", "make", "code"),
    [
        ([], making(["mnist"]), "data-missing"),
        (["digits", "mnist"], making(["digits", "mnist"]), "data-missing"),
        (["mnist"], making(["mnist"], "truncated"), "truncated"),
    ],
    ids=["needed", "all of them", "damaged"],
)
def test_data_that_are_needed_or_damaged_are_an_error(tmp_path, optional, make, code):
    requests = ask(series(tmp_path, optional)).requests
    with pytest.raises(DataError) as caught:
        plan_all(requests, make)
    assert caught.value.code == code


def test_what_is_optional_and_not_there_is_left_out(tmp_path):
    plans, left_out = plan_all(ask(series(tmp_path, ["mnist"])).requests, making(["mnist"]))
    assert (plans, list(left_out)) == (["on-digits"], ["on-mnist"])


def test_alone_the_part_is_not_optional():
    (request,) = ask("paper-mnist").requests
    assert not request.optional
    assert [r.suite.name for r in ask("paper").requests if r.optional] == ["paper-mnist"]


def test_only_a_part_can_be_optional(tmp_path):
    path = tmp_path / "wrong.toml"
    path.write_text('title = "t"\nparts = ["quick"]\noptional = ["quik"]\n')
    with pytest.raises(SuiteError) as caught:
        load_experiment(str(path))
    assert caught.value.code == "wrong-value"
