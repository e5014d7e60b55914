"""Leases: one owner at a time, and none that is dead or silent."""

import os
import signal
import subprocess
import sys
import time

import pytest

from moebench.errors import ResultsError
from moebench.records.leases import Leases

HOLDER = """
import sys, time
from pathlib import Path
from moebench.records.leases import Leases
with Leases(Path(sys.argv[1]), 2.0).hold("x") as mine:
    print(mine, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "True\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_one_holds_it_and_the_next_comes_after(tmp_path):
    one, other = Leases(tmp_path), Leases(tmp_path)
    with one.hold("x") as mine:
        assert mine
        assert other.held_by_another("x")
        assert not other.held_by_another("y")
        with other.hold("x") as also_mine:
            assert not also_mine
    assert not other.held_by_another("x")
    with other.hold("x") as mine:
        assert mine


def test_a_dead_owner_loses_it_at_once(tmp_path, holder):
    leases = Leases(tmp_path, 2.0)
    assert leases.held_by_another("x")
    holder.kill()
    holder.wait()
    began = time.monotonic()
    with leases.hold("x") as mine:
        assert mine
    assert time.monotonic() - began < 1


def test_an_owner_that_lives_keeps_it_and_one_that_falls_silent_loses_it(tmp_path, holder):
    leases = Leases(tmp_path, 2.0)
    end = time.monotonic() + 4
    while time.monotonic() < end:
        assert leases.held_by_another("x")
        time.sleep(0.2)
    os.kill(holder.pid, signal.SIGSTOP)
    end = time.monotonic() + 10
    while leases.held_by_another("x"):
        assert time.monotonic() < end
        time.sleep(0.2)


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultsError) as caught, Leases(tmp_path / "file").hold("x"):
        pass
    assert caught.value.code == "cannot-write"
