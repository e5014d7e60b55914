"""Sharing one machine: training runs side by side, each on processors of its own; latency is measured alone.

This holds for all of a user's suites on the machine, by locks on files, which the system releases when a process ends.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from moebench.errors import ResultsError
from moebench.processes import RUNTIME_FOLDER

FOLDER = RUNTIME_FOLDER
"""The variable that names another folder for the locks."""

POLL_SECONDS = 0.2


def folder() -> Path:
    """Where the locks lie: on this machine, not on a shared disk; readable by this user alone."""
    path = Path(os.environ.get(FOLDER) or Path(tempfile.gettempdir()) / f"moebench-{os.getuid()}")
    try:
        path.mkdir(parents=True, mode=0o700, exist_ok=True)
        owner = path.stat().st_uid
    except OSError as error:
        raise ResultsError(
            f"cannot make the folder '{path}' ({error.strerror}); name another in {FOLDER}.",
            code="no-lock-folder",
            path=path,
        ) from error
    if owner != os.getuid():
        raise ResultsError(
            f"the folder '{path}' belongs to another user; name another in {FOLDER}.",
            code="foreign-lock-folder",
            path=path,
        )
    return path


def share_machine(waiting: Callable[[], None] = lambda: None) -> None:
    """Count as a training run until this process ends; waits while a latency session is under way or waits.

    ``waiting`` is called meanwhile.
    """
    gate = _opened("gate")
    for file, kind in ((gate, fcntl.LOCK_EX), (_opened("floor"), fcntl.LOCK_SH)):  # released by the process's end
        while not _locked(file, kind):
            waiting()
            time.sleep(POLL_SECONDS / 10)
    os.close(gate)


def someone_is_alone() -> bool:
    """Whether a latency session is under way on this machine, or waits for the runs under way to end."""
    gate = _opened("gate")
    try:
        return not _locked(gate)
    finally:
        os.close(gate)


@contextmanager
def alone(waiting: Callable[[], None]) -> Iterator[None]:
    """Wait until no training runs here and let none begin; ``waiting`` is called meanwhile, and may raise."""
    files = [_opened("gate"), _opened("floor")]
    try:
        for file in files:
            while not _locked(file):
                waiting()
                time.sleep(POLL_SECONDS)
        yield
    finally:
        for file in files:
            os.close(file)


def pin(threads: int) -> list[int]:
    """Pin this process to so many processors that no other run is pinned to; empty, and not pinned, without them."""
    if not hasattr(os, "sched_setaffinity"):
        return []
    allowed = sorted(os.sched_getaffinity(0))
    if threads >= len(allowed):
        return []
    held: dict[int, int] = {}
    for core in allowed:
        file = _opened(f"core-{core}")
        if _locked(file):  # released by the end of the process
            held[core] = file
        else:
            os.close(file)
        if len(held) == threads:
            os.sched_setaffinity(0, held)
            return list(held)
    for file in held.values():
        os.close(file)
    return []


def _opened(name: str) -> int:
    return os.open(folder() / name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _locked(file: int, kind: int = fcntl.LOCK_EX) -> bool:
    """Whether this process has the lock now, by default alone."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
