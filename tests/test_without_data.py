"""Where a data set is not on this machine, a plan has sizes and times, and a check that was not made is no finding."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from moebench.cli.main import cli
from moebench.errors import DataError
from moebench.plans.rows import Row
from moebench.publish import checks
from moebench.publish.checks import Check, Made, make_checks
from moebench.tasks.places import missing
from tiny import write_suite


def without(submission):
    yield from ()
    raise missing("CIFAR-10", [Path("here")], "put it there")


def damaged(submission):
    yield from ()
    raise DataError("the file is truncated.", code="truncated")


@pytest.mark.parametrize(("find", "lacks", "findings"), [(without, "CIFAR-10", 0), (damaged, "", 1)])
def test_a_check_without_its_data_was_not_made(monkeypatch, find, lacks, findings):
    monkeypatch.setattr(checks, "CHECKS", {"plan": Check("it is planned", find)})
    submission = SimpleNamespace(plan=SimpleNamespace(protocol="2"))
    (made,) = make_checks(submission)
    assert (made.lacks, len(made.found)) == (lacks, findings)


@pytest.mark.parametrize(
    ("made", "status", "said"),
    [
        ([("", ())], 0, "2 records: holds\n"),
        ([("CIFAR-10", ())], 3, "plan  not checked here: CIFAR-10 is missing\n"),
        ([("CIFAR-10", ()), ("", ("it is wrong.",))], 1, "does not hold: 1 finding\n"),
    ],
)
def test_the_exit_status_tells_what_does_not_hold_from_what_was_not_checked(monkeypatch, made, status, said):
    check = Check("it is planned", without)
    plan = SimpleNamespace(protocol="2", rows=[Row("dense", "dense", "dense", "c0de")])
    read = SimpleNamespace(plan=plan, pack=SimpleNamespace(records=[1, 2]), verification=None)
    monkeypatch.setattr("moebench.publish.Submission.read", lambda *_: read)
    monkeypatch.setattr(checks, "CHECKS", {"plan": check})
    monkeypatch.setattr(
        checks, "make_checks", lambda *_: [Made("plan", check, found, lacks=lacks) for lacks, found in made]
    )
    done = CliRunner().invoke(cli, ["verify", "somewhere"], standalone_mode=False)
    assert done.exception is None
    assert done.return_value == status
    assert said in done.output


def test_a_plan_without_its_data_has_sizes_and_times(tmp_path):
    suite = write_suite(tmp_path, task="cifar10", patch=8)
    words = ["plan", suite, "--results", str(tmp_path / "r"), "--data", str(tmp_path)]
    done = CliRunner().invoke(cli, words, standalone_mode=False)
    assert done.return_value == 1
    assert "0 cached, 9 to run, about " in done.stdout
    assert done.stderr.startswith("data not found here, so nothing of it counts as cached: CIFAR-10 is not in ")
