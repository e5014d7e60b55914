"""Processes of moebench: workers from a fork server that has torch and timm imported already, programs, their ends.

None of them imports anything from the directory that the command was called in, and each stands in a directory of its
own. What a process has started ends with it.
"""

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
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from types import ModuleType
from typing import Any

from moebench.errors import UsageError

FOR_THE_SUITE = {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2}
"""Signals that a terminal or a cluster sends to every process: the suite decides what to do. They are blocked in
workers and in their fork server; see ``heartbeat.OfProcess``."""

RUNTIME_FOLDER = "MOEBENCH_RUNTIME_DIR"
"""The variable that names another folder for locks and sockets."""

PLACES = ("MOEBENCH_DATA", RUNTIME_FOLDER)
"""Variables that hold a path, which may be seen from the directory that the command was called in."""

ISOLATING = ("PYTHONPATH", "PYTHONSAFEPATH")
"""Variables that say where a Python imports from while it begins."""

_STARTING = threading.RLock()
_LIVE = set[int]()
"""Process ids of the workers of this process that nobody has ended yet."""


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
    for place in filter(None, (os.environ.get(RUNTIME_FOLDER), "/tmp", "/var/tmp", "/dev/shm")):
        if len(os.fsencode(place)) <= LONGEST:
            with contextlib.suppress(OSError):
                made = tempfile.mkdtemp(prefix="pymp-", dir=place)
                atexit.register(shutil.rmtree, made, ignore_errors=True)
                config["tempdir"] = made
                return
    raise UsageError(
        f"the folder for temporary files, '{tempfile.gettempdir()}', has too long a name for sockets; name a shorter "
        f"one in TMPDIR, or in {RUNTIME_FOLDER}.",
        code="temporary-folder-too-long",
        path=tempfile.gettempdir(),
    )


def start(target: Callable[..., None], *args: Any, log: Path) -> ForkServerProcess:
    """Start a worker whose standard output and error go to ``log``. Whoever starts one calls :func:`end` at last."""
    log.parent.mkdir(parents=True, exist_ok=True)
    about = os.getpid(), str(log.absolute()), standing_place(), _as_here()
    process = context().Process(target=_redirected, args=(*about, target, args), daemon=True)
    with _STARTING:
        warm_up()
        with _importing(import_path()), _no_main_module(), _signals_blocked():
            process.start()
        assert process.pid is not None
        _LIVE.add(process.pid)
    return process


def end(process: ForkServerProcess, seconds: float = 10.0) -> None:
    """End a worker now, unless it has ended, with everything that it has started; waits so long for the system.

    What a worker leaves behind when it ends on its own, the fork server inherits; Linux only.
    """
    from multiprocessing import forkserver

    pid = process.pid
    assert pid is not None
    below = _descendants(pid) if process.is_alive() else []
    process.kill()
    _kill(below)
    process.join(seconds)
    with _STARTING:
        _LIVE.discard(pid)
        server = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
        orphans = [each for each in _children(server) if each not in _LIVE] if server else []
        _kill([each for orphan in orphans for each in (*_descendants(orphan), orphan)])


def warm_up() -> None:
    """Start the fork server now, so that it imports torch while the plan is made."""
    from multiprocessing import forkserver

    context()
    with _STARTING, _importing(import_path(prompt=False)), _signals_blocked():
        forkserver.ensure_running()


def program(module: str, *words: str) -> list[str]:
    """The command that runs a module of this Python, in :func:`surroundings` and :func:`standing_place`."""
    return [sys.executable, "-P", "-m", module, *words]


def surroundings() -> dict[str, str]:
    """The environment of a program: it imports what this process does, and nothing from where it stands."""
    return {
        **os.environ,
        **_absolute(),
        "PYTHONPATH": os.pathsep.join(import_path(prompt=False)),
        "PYTHONSAFEPATH": "1",
    }


def import_path(*, prompt: bool = True) -> list[str]:
    """``sys.path`` as processes that this one starts have it.

    The directory that this process stands in is there only where a prompt or a notebook has put it, and then last: it
    hides no module of Python's or of an installed package. prompt: false leaves it out.
    """
    here = _here()
    path = [each if os.path.isabs(each) else os.path.join(here, each) for each in sys.path if each not in ("", ".")]
    return [*path, here] if prompt and len(path) < len(sys.path) else path


def _here() -> str:
    """Where this process stands, or stood: the directory may be gone."""
    try:
        return os.getcwd()
    except OSError:
        return os.sep


def leave_directory() -> None:
    """Import nothing more from the directory that this process stands in, unless moebench itself is there."""
    here, own = os.path.realpath(_here()), os.path.realpath(Path(__file__).parent.parent)
    if here != own:
        sys.path[:] = [each for each in sys.path if each not in ("", ".") and os.path.realpath(each) != here]


@cache
def standing_place() -> str:
    """An empty directory, in which processes that this one starts stand; it goes when this one ends."""
    owner, place = os.getpid(), tempfile.mkdtemp(prefix="moebench-")

    def remove() -> None:
        if os.getpid() == owner:
            shutil.rmtree(place, ignore_errors=True)

    atexit.register(remove)
    return place


def _absolute() -> dict[str, str]:
    """Variables with a path, for a process that stands elsewhere."""
    return {name: os.path.abspath(os.environ[name]) for name in PLACES if os.environ.get(name)}


def _as_here() -> dict[str, str | None]:
    """Variables of this process that its fork server has otherwise, or stands too far away for."""
    return {name: os.environ.get(name) for name in ISOLATING} | _absolute()


def _redirected(
    owner: int,
    log: str,
    place: str,
    variables: Mapping[str, str | None],
    target: Callable[..., None],
    args: tuple[Any, ...],
) -> None:
    keep_orphans()
    end_with(owner)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
    with contextlib.suppress(OSError):
        os.chdir(place)
    _set(variables)
    code = 1
    try:
        target(*args)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        with contextlib.suppress(BaseException):  # an exception may have no text
            traceback.print_exc()
    leave(code)


def leave(code: int) -> None:
    """End this worker now, and all that it has started; threads that a plug-in left are not waited for."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    _kill_below()
    os._exit(code & 0xFF)


def end_with(owner: int) -> None:
    """End when the process that started this one ends, even where it was killed; Linux only."""
    if not hasattr(os, "pidfd_open"):
        return
    try:
        ended = os.pidfd_open(owner)
    except ProcessLookupError:
        os._exit(1)
    except OSError:  # the kernel of a sandbox may not have it
        return

    def watch() -> None:
        select.select([ended], [], [])
        _kill_below()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


PR_SET_CHILD_SUBREAPER = 36
"""From Linux's prctl.h."""


def keep_orphans() -> None:
    """Let processes whose parent has ended become children of this one, where the system can do that (Linux)."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None) if sys.platform == "linux" else None
    if prctl is not None:
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _kill_below() -> None:
    """End everything below this process; again, where one of them has started another meanwhile."""
    for child in multiprocessing.active_children():  # all there is to know on other systems than Linux
        child.kill()
    for _ in range(5):
        below = _descendants(os.getpid())
        if not below:
            return
        _kill(below)
        with contextlib.suppress(ChildProcessError):  # who has ended is no descendant any more
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.01)


def _kill(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def _descendants(pid: int) -> list[int]:
    """Process ids of all that a process has started and that is alive, with what those have started."""
    below = _children(pid)
    return [*below, *(each for child in below for each in _descendants(child))]


def processor_time(pid: int) -> float | None:
    """Ticks of processor time that a process and all that it has started have used; None where nobody can say, or where
    it waits for a disk.
    """
    total = 0
    for each in (pid, *_descendants(pid)):
        try:
            words = Path(f"/proc/{each}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except (OSError, UnicodeDecodeError):
            if each == pid:
                return None
            continue
        if words[0] == "D":
            return None
        total += sum(map(int, words[11:15]))  # user and system, its own and that of children that have ended
    return total


def _children(pid: int) -> list[int]:
    """Of a process that may have ended; none where the system does not say (other than Linux)."""
    found = list[int]()
    threads = Path(f"/proc/{pid}/task")
    with contextlib.suppress(OSError):  # it ended while it was looked at
        for thread in os.listdir(threads):
            with contextlib.suppress(OSError):
                found += map(int, (threads / thread / "children").read_text(encoding="ascii").split())
    return found


@contextmanager
def _importing(places: list[str]) -> Iterator[None]:
    """Processes started meanwhile import from there alone, also while they begin."""
    path, before = list(sys.path), {name: os.environ.get(name) for name in ISOLATING}
    sys.path[:] = places  # which multiprocessing hands to every process
    _set(dict(zip(ISOLATING, (os.pathsep.join(sys.path), "1"), strict=True)))
    try:
        yield
    finally:
        sys.path[:] = path
        _set(before)


def _set(variables: Mapping[str, str | None]) -> None:
    """Set environment variables; None: there is none of that name."""
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


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
