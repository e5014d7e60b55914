"""Being told to stop: once means to end cleanly, twice means now."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDED_EARLY = 75
"""Exit code of a run that was told to stop; its checkpoint is kept."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
    """A run ends before its end because it was told to; not an error, and no ``except Exception`` swallows it."""


class Interrupted(KeyboardInterrupt):
    """A suite ended early and cleanly because it was told to. code: the exit status that says so."""

    def __init__(self, message: str, signum: int) -> None:
        super().__init__(message)
        self.code = 128 + signum


class Stop:
    """Whether the suite was told to stop, and by which signal (0: not yet)."""

    def __init__(self) -> None:
        self.signum = 0

    def __bool__(self) -> bool:
        return self.signum != 0


@contextmanager
def listening(stop: Stop | None = None) -> Iterator[Stop]:
    """Take the first SIGINT or SIGTERM as a request, the second as KeyboardInterrupt, at once.

    Outside the main thread nothing changes, for signals do not arrive there.
    """
    told = stop or Stop()
    if threading.current_thread() is not threading.main_thread():
        yield told
        return

    def hear(signum: int, frame: FrameType | None) -> None:
        if told.signum:
            raise KeyboardInterrupt
        told.signum = signum

    before = {each: signal.signal(each, hear) for each in SIGNALS}
    try:
        yield told
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
