"""What becomes of a run whose process exceeded a limit, or ended without a result."""

from __future__ import annotations

import time
from pathlib import Path

from moebench.records import Record, Status
from moebench.runner.job import Job
from moebench.runner.options import Limits
from moebench.runner.outcomes import exit_words, failed

TAIL = 2000
"""Characters of a dead run's output that its record keeps."""

LOG_LIMIT = 64 << 20
"""Bytes that a run may print."""

Verdict = tuple[Status, str]
"""(status, reason)."""


def ended_by(limits: Limits, log: Path, ran: float) -> Verdict | None:
    """The limit that a run has exceeded, if any. ran: seconds since it was started."""
    try:
        found = log.stat()
    except OSError:  # not made yet
        return None
    if found.st_size > LOG_LIMIT:
        return "error", f"it printed more than {LOG_LIMIT >> 20} MiB."
    if limits.timeout is not None and ran > limits.timeout:
        return "timeout", f"it ran longer than {limits.timeout:g} seconds."
    if min(time.time() - found.st_mtime, ran) > limits.silence:
        return "timeout", f"it showed no sign of life for {limits.silence:g} seconds."
    return None


def after_exit(job: Job, exitcode: int | None, log: Path, verdict: Verdict | None) -> Record:
    """The record of a run that left none. verdict: of the limit that it was ended by."""
    tail = _tail(log)
    if verdict is None:
        status, words = exit_words(exitcode)
        last = tail.splitlines()[-1] if tail else "it printed nothing"
        verdict = status, f"the process {words} ({last})."
    return failed(job, *verdict, output=tail)


def _tail(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4 * TAIL))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return text.strip()[-TAIL:]
