"""What another author's code does where it could end, stop or hold up the command: in a process of its own.

The process answers in lines of JSON. It has a limit from each answer to the next, and the command waits for nothing
else of it: not for its threads, its children, nor for it to end.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from moebench.errors import MoebenchError, from_plain, to_plain
from moebench.frames import Frame, frames_of
from moebench.processes import end, start
from moebench.text import one_line, told

LOG = logging.getLogger(__name__)

VARIABLE = "MOEBENCH_PLUGIN_SECONDS"
"""The variable that sets another limit, in seconds."""

SECONDS = 40.0
"""By default, the longest from one answer to the next."""

START_SECONDS = 300.0
"""The longest until a process has begun, which waits for the fork server's imports."""

LINE_LIMIT = 256 << 20
"""Bytes of the longest answer."""

TAIL = 200
"""Characters of its last line that an ended process is described with."""

LOOK_SECONDS = 0.5
"""How often it is asked whether anybody still wants the answers."""

NEVER = threading.Event()

Task = Callable[..., Iterator[Any]]
"""What runs in the process: a function of a module, which yields values as JSON has them."""


class ApartError(Exception):
    """The process gave no answer; the text continues "it": "it ended its process with exit code 0".

    frames: where what it raised came from.
    """

    def __init__(self, message: str, frames: Sequence[Frame] = ()) -> None:
        super().__init__(message)
        self.frames = tuple(frames)


def seconds_allowed() -> float:
    """The limit that holds."""
    try:
        return float(os.environ[VARIABLE])
    except (KeyError, ValueError):
        return SECONDS


def apart(task: Task, *args: Any, given_up: threading.Event = NEVER) -> Iterator[Any]:
    """What ``task(*args)`` yields, from a process of its own.

    :class:`ApartError` where it raises anything but a :class:`MoebenchError`, which is raised here, where it ends its
    process, or where it takes longer than the limit. In such a process the task is done there and then.
    given_up: set by whoever does not want the answers any more, from another thread.
    """
    if multiprocessing.current_process().daemon:
        yield from _here(task, args)
        return
    ours, theirs = multiprocessing.Pipe(duplex=False)
    with tempfile.TemporaryDirectory(prefix="moebench-") as folder, ours:
        log = Path(folder) / "log"
        with theirs:
            process = start(_answer, theirs, task, args, log=log)
        LOG.info("process %s: %s", process.pid, task.__qualname__)
        try:
            yield from _values(process, ours, log, given_up)
        finally:
            end(process)
            LOG.info("process %s has ended", process.pid)


def outcome(task: Task, *args: Any) -> Any:
    """The only value of ``task(*args)``, as :func:`apart`."""
    return list(apart(task, *args))[-1]


def _here(task: Task, args: tuple[Any, ...]) -> Iterator[Any]:
    try:
        yield from task(*args)
    except (MoebenchError, GeneratorExit):
        raise
    except BaseException as error:
        raise ApartError(f"raised {told(error)}", frames_of(error)) from None


def _values(process: ForkServerProcess, pipe: Connection, log: Path, given_up: threading.Event) -> Iterator[Any]:
    lines = _lines(process, pipe, log, given_up)
    next(lines)  # it has begun
    for line in lines:
        try:
            (kind, value), *_ = json.loads(line).items()
        except (ValueError, AttributeError, RecursionError):
            raise ApartError("wrote into the answers of its process") from None
        if kind == "value":
            yield value
        elif kind == "refused":
            raise from_plain(value)
        elif kind == "raised":
            raise ApartError(f"raised {value['said']}", value["frames"])
        else:
            return


def _lines(process: ForkServerProcess, pipe: Connection, log: Path, given_up: threading.Event) -> Iterator[bytes]:
    """The lines of the answers, each within its limit. Whoever holds the pipe's other end may keep it open."""
    os.set_blocking(pipe.fileno(), False)
    kept, allowed, open_ = bytearray(), START_SECONDS, True
    while True:
        until, ended = time.monotonic() + allowed, False
        while (length := kept.find(b"\n")) < 0:
            left = until - time.monotonic()
            if given_up.is_set():
                raise ApartError("was given up")
            if left <= 0:
                raise ApartError(f"took longer than {allowed:g} seconds ({VARIABLE} sets another limit)")
            if ended or len(kept) > LINE_LIMIT:
                raise ApartError(_ending(process, log))
            ready = wait([process.sentinel, *([pipe] if open_ else [])], timeout=min(left, LOOK_SECONDS))
            if not ready:
                continue
            ended = process.sentinel in ready
            while open_ and len(kept) <= LINE_LIMIT:
                try:
                    read = os.read(pipe.fileno(), 1 << 20)
                except BlockingIOError:
                    break
                kept += read
                open_ = bool(read)
        yield bytes(kept[:length])
        del kept[: length + 1]
        allowed = seconds_allowed()


def _ending(process: ForkServerProcess, log: Path) -> str:
    """How the process ended, with the last line that it printed."""
    process.join(1)
    code = process.exitcode
    how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 10 * TAIL))
            printed = file.read().decode(errors="replace").strip().splitlines()
    except OSError:
        printed = []
    last = f" ({one_line(printed[-1])[-TAIL:]})" if printed else ""
    return f"ended its process with {how}{last}"


def _plain(value: Any) -> Any:
    """What JSON does not have: a number of NumPy's is one of Python's, and all else is text."""
    return value.item() if hasattr(value, "item") else str(value)


def _answer(pipe: Connection, task: Task, args: tuple[Any, ...]) -> None:
    """The body of the process."""

    def say(**line: Any) -> None:
        text = memoryview(json.dumps(line, default=_plain).encode() + b"\n")
        while text:
            text = text[os.write(pipe.fileno(), text) :]

    say(begun=True)
    try:
        for value in task(*args):
            say(value=value)
    except MoebenchError as error:
        say(refused=to_plain(error))
    except BaseException as error:
        say(raised={"said": told(error), "frames": frames_of(error)})
    say(end=True)
