"""Sharing a machine: latency waits for training and training for latency; runs get processors of their own."""

import os
import select
import subprocess
import sys

import pytest

from moebench.errors import ResultsError
from moebench.runner import machine_lock as quiet

SHARES = "from moebench.runner.machine_lock import share_machine; share_machine(); print('in', flush=True); input()"
PINS = "from moebench.runner.machine_lock import pin; print(pin(1), flush=True); input()"


@pytest.fixture(autouse=True)
def _own_locks(monkeypatch, tmp_path):
    monkeypatch.setenv(quiet.FOLDER, str(tmp_path / "locks"))


def started(code):
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ended(process):
    process.communicate("\n", timeout=60)


def test_latency_waits_until_no_run_is_left_and_lets_none_begin():
    runs = [started(SHARES), started(SHARES)]
    assert [run.stdout.readline() for run in runs] == ["in\n", "in\n"], "runs are side by side"
    waited = []

    def waiting():
        waited.append(quiet.someone_is_alone())
        if len(waited) == 3:
            ended(runs[0])
        if len(waited) == 6:
            ended(runs[1])

    assert not quiet.someone_is_alone()
    with quiet.alone(waiting):
        assert len(waited) >= 6
        assert all(waited), "whoever waits keeps others from beginning"
        late = started(SHARES)
        assert select.select([late.stdout], [], [], 1.5)[0] == [], "it began beside a latency session"
        assert quiet.someone_is_alone()
    assert late.stdout.readline() == "in\n"
    ended(late)


def test_a_killed_run_is_no_run():
    run = started(SHARES)
    assert run.stdout.readline() == "in\n"
    run.kill()
    run.communicate()
    with quiet.alone(lambda: pytest.fail("there was nothing to wait for")):
        pass


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor")
def test_runs_are_kept_to_processors_of_their_own():
    count = len(os.sched_getaffinity(0))
    runs = [started(PINS) for _ in range(count + 1)]
    pinned = [run.stdout.readline() for run in runs]
    for run in runs:
        ended(run)
    assert sorted(pinned) == sorted([*(f"[{core}]\n" for core in sorted(os.sched_getaffinity(0))), "[]\n"])


def test_another_users_folder_is_refused(monkeypatch):
    monkeypatch.setattr(quiet.os, "getuid", lambda: 12345)
    with pytest.raises(ResultsError) as caught:
        quiet.folder()
    assert caught.value.code == "foreign-lock-folder"
