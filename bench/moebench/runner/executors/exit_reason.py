"""What becomes of a run whose process went beyond a limit, or ended without a result."""

from __future__ import annotations

import time
from pathlib import Path

from moebench import machine
from moebench.records import Record, Status
from moebench.runner.executors.base import Limits
from moebench.runner.job import Job

TAIL = 2000
"""Characters of a dead run's output that its record keeps."""

LOG_LIMIT = 64 << 20
"""Bytes that a run may print."""

Verdict = tuple[Status, str]
"""(status, reason)."""


def ended_by(limits: Limits, log: Path, ran: float) -> Verdict | None:
    """The limit that a run has gone beyond, if any. ran: seconds since it was started."""
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
    status, reason = verdict or _cause(exitcode, tail)
    return Record(
        identity=job.cell.identity,
        cell=job.cell.to_json(),
        status=status,
        reason=reason,
        details={"output_tail": tail} if tail else {},
        provenance={"suite": job.suite, "row": job.row, "versions": machine.versions()},
    )


def _cause(exitcode: int | None, tail: str) -> tuple[Status, str]:
    last = tail.splitlines()[-1] if tail else "it printed nothing"
    if exitcode == -9:
        return "oom", f"the process was killed, most likely for lack of memory ({last})."
    how = f"signal {-exitcode}" if exitcode is not None and exitcode < 0 else f"exit code {exitcode}"
    return "error", f"the process ended with {how} ({last})."


def _tail(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4 * TAIL))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return text.strip()[-TAIL:]
