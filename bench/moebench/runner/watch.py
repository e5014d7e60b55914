"""Whether a run goes on, as seen from outside: what it prints, its signs of life, the processor time that it takes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from moebench.processes import processor_time
from moebench.runner.options import RunLimits
from moebench.runner.outcomes import Verdict

LOG_LIMIT = 64 << 20
"""Bytes that a run may print."""

IDLE = 40.0
"""Seconds without a sign of life and without any use of a processor, after which a run on the CPU does not go on: it
has been stopped, sleeps or waits for something that does not come.
"""

PAUSE = 10.0
"""Seconds between two looks after which it was this process that did not go on, as after Ctrl-Z."""


@dataclass
class Watch:
    """One process, watched by this one's clock alone: that of the log's file server may differ.

    idle: whether it must use a processor; on a GPU it may wait for that.
    """

    pid: int
    log: Path
    idle: bool = True
    _since: float = field(default_factory=time.monotonic)
    _looked: float = field(default_factory=time.monotonic)
    _heard: float = field(default_factory=time.monotonic)
    _busy: float = field(default_factory=time.monotonic)
    _sign: int | None = None
    _used: float | None = None

    def ended_by(self, limits: RunLimits) -> Verdict | None:
        """The limit that it has exceeded, if any; to be asked about once a second."""
        size = self._look()
        now = self._looked
        if size > LOG_LIMIT:
            return "error", f"it printed more than {LOG_LIMIT >> 20} MiB."
        if limits.timeout is not None and now - self._since > limits.timeout:
            return "timeout", f"it ran longer than {limits.timeout:g} seconds."
        if now - self._heard > limits.silence:
            return "timeout", f"it showed no sign of life for {limits.silence:g} seconds."
        if self.is_idle:
            return "timeout", f"it neither trained a step nor used a processor for {IDLE:g} seconds."
        return None

    @property
    def is_idle(self) -> bool:
        """Whether it has shown nothing for too long."""
        return self.idle and self._looked - max(self._busy, self._heard) > IDLE

    def look(self) -> bool:
        """Whether it goes on; to be asked about once a second."""
        self._look()
        return not self.is_idle

    def _look(self) -> int:
        """Look again; returns the size of the log."""
        now = time.monotonic()
        if now - self._looked > PAUSE:
            self._heard = self._busy = now
        self._looked = now
        used = processor_time(self.pid)
        if used is None or used != self._used:
            self._used, self._busy = used, now
        try:
            found = self.log.stat()
        except OSError:  # not made yet
            return 0
        if found.st_mtime_ns != self._sign:
            self._sign, self._heard = found.st_mtime_ns, now
        return found.st_size
