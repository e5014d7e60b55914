"""Requests to stop, and exit codes: one signal means to end cleanly, two mean to end now."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDED_EARLY = 75
"""Exit code of a run that was asked to stop; its checkpoint is kept."""

HELD = 76
"""Exit code where another process works on the run, or it is settled already."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
    """A run was asked to stop and stops early. Not an error: no ``except Exception`` swallows it."""


class Interrupted(KeyboardInterrupt):
    """A suite was asked to stop and stopped cleanly. code: the exit status."""

    def __init__(self, message: str, signum: int) -> None:
        super().__init__(message)
        self.signum, self.code = signum, 128 + signum

    def _render_traceback_(self) -> list[str]:
        """What IPython prints in place of a traceback."""
        return [f"moebench: {self}"]


class Stop:
    """Whether the suite was asked to stop, and by which signal (0: not yet)."""

    def __init__(self) -> None:
        self.signum = 0

    def __bool__(self) -> bool:
        return self.signum != 0


@contextmanager
def listening(stop: Stop | None = None) -> Iterator[Stop]:
    """Take the first SIGINT or SIGTERM as a request, the second as KeyboardInterrupt, at once.

    Outside the main thread nothing changes, for signals do not arrive there.
    """
    asked = stop or Stop()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def hear(signum: int, frame: FrameType | None) -> None:
        if asked.signum:
            raise KeyboardInterrupt
        asked.signum = signum

    before = {each: signal.signal(each, hear) for each in SIGNALS}
    try:
        yield asked
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
