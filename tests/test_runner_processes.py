"""Worker processes: where their output goes, and that none outlives the run that it works for."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from moebench import processes

OWNER = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from moebench.processes import start
from test_runner_processes import sleep

start(sleep, {pid!r}, log=Path({log!r}))
time.sleep(600)
"""


def sleep(pid):
    Path(pid).write_text(str(os.getpid()))
    print("asleep", flush=True)
    time.sleep(600)


def alive(pid):
    """Whether it runs; a process that ended and that nobody has asked about does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
    return condition()


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="Linux only")
def test_a_worker_ends_when_its_run_is_killed(tmp_path):
    pid, log = tmp_path / "pid", tmp_path / "log"
    code = OWNER.format(tests=str(Path(__file__).parent), pid=str(pid), log=str(log))
    owner = subprocess.Popen([sys.executable, "-c", code])
    try:
        assert wait_until(lambda: pid.exists() and log.exists() and "asleep" in log.read_text(), 120)
        worker = int(pid.read_text())
        assert alive(worker)
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        assert wait_until(lambda: not alive(worker))
    finally:
        owner.kill()
        owner.wait()


def leave_others(pids):
    """Start a process that nobody waits for and a thread that does not end."""
    other = subprocess.Popen(["sleep", "600"], start_new_session=True)
    Path(pids).write_text(f"{os.getpid()} {other.pid}")
    threading.Thread(target=time.sleep, args=(600,)).start()


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="Linux only")
def test_a_worker_that_is_done_ends_at_once_with_all_that_it_has_started(tmp_path):
    """Without :func:`processes.end`, which does the same from outside."""
    pids, log = tmp_path / "pids", tmp_path / "log"
    process = processes.start(leave_others, str(pids), log=log)
    try:
        process.join(120)
        assert process.exitcode == 0, log.read_text()
        worker, started = map(int, pids.read_text().split())
        assert wait_until(lambda: not alive(started), 5)
        assert not alive(worker)
    finally:
        processes.end(process)


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="Linux only")
def test_a_worker_starts_where_the_kernel_cannot_watch_its_owner(monkeypatch):
    """As the kernel of a sandbox may be."""

    def missing(pid):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(os, "pidfd_open", missing)
    processes.end_with(os.getppid())
