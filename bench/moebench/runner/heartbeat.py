"""What a run hears and shows while it is under way."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from types import FrameType


class Heartbeat:
    """Of a run that nobody watches."""

    def stopping(self) -> bool:
        """Whether the run was told to stop."""
        return False

    def alive(self) -> None:
        """Shows that the run is."""


class OfRank(Heartbeat):
    """Of a process that works on a run: SIGTERM tells it to stop."""

    def __init__(self) -> None:
        self._stopping = False
        signal.signal(signal.SIGTERM, self._hear)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # which has waited since the process began

    def stopping(self) -> bool:
        """Whether the run was told to stop."""
        return self._stopping

    def _hear(self, signum: int, frame: FrameType | None) -> None:
        self._stopping = True


class OfProcess(OfRank):
    """Of a run that has a process to itself: its log's time of change shows that it lives."""

    EVERY = 1.0
    """Seconds between two signs of life."""

    def __init__(self, log: Path) -> None:
        super().__init__()
        self._log = log
        self._next = 0.0

    def alive(self) -> None:
        """Shows that the run is."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + self.EVERY
            with contextlib.suppress(OSError):
                os.utime(self._log)
