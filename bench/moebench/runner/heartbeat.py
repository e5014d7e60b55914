"""How a run is asked to stop, and how it shows that it lives."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from types import FrameType

EVERY = 1.0
"""Seconds between two signs of life."""


class Heartbeat:
    """Of a run that nobody watches."""

    def stopping(self) -> bool:
        """Whether the run was asked to stop."""
        return False

    def alive(self) -> None:
        """Shows that the run is."""


class OfProcess(Heartbeat):
    """Of a process that works on a run: SIGTERM asks it to stop, and its log's modification time shows that it lives.

    log: None for a rank other than the first.
    """

    def __init__(self, log: Path | None = None) -> None:
        self._log, self._next, self._stopping = log, 0.0, False
        signal.signal(signal.SIGTERM, self._hear)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # blocked since the process began

    def stopping(self) -> bool:
        """Whether the run was asked to stop."""
        return self._stopping

    def alive(self) -> None:
        """Shows that the run is."""
        now = time.monotonic()
        if self._log and now >= self._next:
            self._next = now + EVERY
            with contextlib.suppress(OSError):
                os.utime(self._log)

    def _hear(self, signum: int, frame: FrameType | None) -> None:
        self._stopping = True
