"""Processes from a fork server that has torch and timm imported already, and the memory that they keep."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import multiprocessing
import os
import select
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from types import ModuleType
from typing import Any

from moebench.errors import UsageError
from moebench.runner.machine_lock import FOLDER

FOR_THE_SUITE = {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2}
"""Signals that a terminal or a cluster sends to every process: the suite decides what to do. They are blocked in
workers and in their fork server; see ``heartbeat.OfProcess``."""


def context() -> ForkServerContext:
    """The context all workers come from; the server is started by the first process."""
    _find_room_for_sockets()
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["moebench.runner.preload"])
    return server


LONGEST = 108 - len("/pymp-12345678/listener-12345678") - 2
"""Bytes of the folder in which a socket can have a name."""


def _find_room_for_sockets() -> None:
    """Put sockets into another folder where that for temporary files has too long a name for them, as scratch folders
    of jobs do; :class:`UsageError` where there is none.
    """
    config = multiprocessing.current_process()._config  # type: ignore[attr-defined]
    if config.get("tempdir") is not None or len(os.fsencode(tempfile.gettempdir())) <= LONGEST:
        return
    for place in filter(None, (os.environ.get(FOLDER), "/tmp", "/var/tmp", "/dev/shm")):
        if len(os.fsencode(place)) <= LONGEST:
            with contextlib.suppress(OSError):
                made = tempfile.mkdtemp(prefix="pymp-", dir=place)
                atexit.register(shutil.rmtree, made, ignore_errors=True)
                config["tempdir"] = made
                return
    raise UsageError(
        f"the folder for temporary files, '{tempfile.gettempdir()}', has too long a name for sockets; name a shorter "
        f"one in TMPDIR, or in {FOLDER}.",
        code="temporary-folder-too-long",
        path=tempfile.gettempdir(),
    )


def start(target: Callable[..., None], *args: Any, log: Path) -> ForkServerProcess:
    """Start a worker whose standard output and error go to ``log``."""
    log.parent.mkdir(parents=True, exist_ok=True)
    process = context().Process(target=_redirected, args=(os.getpid(), str(log), target, args), daemon=True)
    with _no_main_module(), _signals_blocked():
        process.start()
    return process


def warm_up() -> None:
    """Start the fork server now, so that it imports torch while the plan is made."""
    from multiprocessing import forkserver

    context()
    with _signals_blocked():
        forkserver.ensure_running()


def _redirected(owner: int, log: str, target: Callable[..., None], args: tuple[Any, ...]) -> None:
    end_with(owner)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
    target(*args)


def end_with(owner: int) -> None:
    """End when the process that started this one ends, even where it was killed; Linux only."""
    if not hasattr(os, "pidfd_open"):
        return
    try:
        ended = os.pidfd_open(owner)
    except ProcessLookupError:
        os._exit(1)

    def watch() -> None:
        select.select([ended], [], [])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Processes started meanwhile do not get those signals; this one gets them afterwards."""
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # else the server starts it, which unblocks SIGINT and SIGTERM
    before = signal.pthread_sigmask(signal.SIG_BLOCK, FOR_THE_SUITE)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _no_main_module() -> Iterator[None]:
    """Keep multiprocessing from importing the caller's script, which may have no main guard, in every worker."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


# From glibc's malloc.h, and the largest threshold that it accepts.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
LARGEST_THRESHOLD = 32 << 20


def keep_freed_memory() -> bool:
    """Keep freed blocks for the next step instead of returning them to the system, which maps them page by page.

    Training is 5 to 16 % faster, with the same numbers. False where the C library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    options = ((M_MMAP_THRESHOLD, LARGEST_THRESHOLD), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 64 << 20))
    return all(mallopt(option, value) == 1 for option, value in options)
