"""Executors are found by name; what one needs is said when it is chosen."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from moebench.cli.main import cli
from moebench.errors import ResultsError, UnknownNameError, UsageError
from moebench.runner.executors import EXECUTORS, open_executor
from moebench.runner.executors.node import find_mark, leave_mark
from moebench.runner.options import RunOptions

PACKAGES = {"ray": "ray", "slurm": "submitit"}


def test_there_is_a_module_for_each_executor() -> None:
    for name in EXECUTORS:
        assert importlib.util.find_spec(f"moebench.runner.executors.{name}")


def test_an_unknown_executor_gets_a_hint(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown executor 'slrum'; did you mean 'slurm'\?"):
        open_executor(RunOptions(results=tmp_path, executor="slrum"))


@pytest.mark.parametrize(("executor", "package"), PACKAGES.items())
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    executor: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in list(sys.modules):
        if name.startswith(f"moebench.runner.executors.{executor}"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UsageError, match=rf"pip install 'moebench\[{executor}\]'") as caught:
        open_executor(RunOptions(results=tmp_path, executor=executor))
    assert (caught.value.code, caught.value.facts["package"]) == ("missing-package", package)


def test_local_takes_no_options(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"executor 'local' has no option 'partition'; it takes none\."):
        open_executor(RunOptions(results=tmp_path, executor_options={"partition": "gpu"}))


def test_an_option_is_a_name_and_a_value() -> None:
    result = CliRunner().invoke(cli, ["run", "quick", "--executor-option", "partition"])
    assert result.exit_code != 0
    assert "--executor-option takes NAME=VALUE, not 'partition'." in f"{result.output}{result.exception}"


def test_a_mark_is_seen_while_it_is_there(tmp_path: Path) -> None:
    mark = leave_mark(tmp_path)
    find_mark(mark)
    mark.unlink()
    with pytest.raises(ResultsError) as caught:
        find_mark(mark)
    assert (caught.value.code, caught.value.facts["results"]) == ("results-not-shared", tmp_path)
