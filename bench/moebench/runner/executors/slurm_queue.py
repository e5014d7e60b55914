"""Where submitit's jobs wait and run: SLURM's queue, or processes of this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from typing import Any, Protocol


class Queue(Protocol):
    """What becomes of jobs, each one that submitit returned. EVERY: seconds between two questions."""

    EVERY: float

    def gone(self, jobs: Sequence[Any]) -> set[str]:
        """The ids of those that neither wait nor run any more."""

    def ask_to_end(self, jobs: Sequence[Any]) -> None:
        """Take back those that wait, and tell those that run, by SIGTERM."""

    def end(self, jobs: Sequence[Any]) -> None:
        """End them."""

    def node(self, job: Any) -> str:
        """Where it ran."""


class OfSlurm:
    """By SLURM's own commands; its accounting, which many clusters do without, is not asked."""

    EVERY = 2.0

    def gone(self, jobs: Sequence[Any]) -> set[str]:
        """None of them while SLURM does not answer."""
        user = f"--user={os.getuid()}"
        answer = _said(["squeue", "--noheader", "--array", "--format=%i", user]) if jobs else None
        return set() if answer is None else {job.job_id for job in jobs} - set(answer.split())

    def ask_to_end(self, jobs: Sequence[Any]) -> None:
        """Two commands: a signal leaves jobs that wait as they are."""
        if jobs:
            _said(["scancel", "--state=PENDING", *_ids(jobs)])
            _said(["scancel", "--signal=TERM", *_ids(jobs)])

    def end(self, jobs: Sequence[Any]) -> None:
        """SLURM kills those that take too long to end."""
        if jobs:
            _said(["scancel", *_ids(jobs)])

    def node(self, job: Any) -> str:
        """As SLURM names it."""
        answer = _said(["squeue", "--noheader", "--states=all", "--format=%N", f"--jobs={job.job_id}"])
        return (answer or "").strip() or f"of SLURM's job {job.job_id}"


class OfThisMachine:
    """submitit's cluster ``local``: a process that starts another, and passes SIGTERM on to it."""

    EVERY = 0.2

    PATIENCE = 5.0
    """Seconds that processes have to end in."""

    def gone(self, jobs: Sequence[Any]) -> set[str]:
        """Those whose process has ended."""
        return {job.job_id for job in jobs if job.done()}

    def ask_to_end(self, jobs: Sequence[Any]) -> None:
        """Nothing waits."""
        for job in jobs:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(job.job_id), signal.SIGTERM)

    def end(self, jobs: Sequence[Any]) -> None:
        """submitit interrupts a process, and kills it a second later."""
        for job in jobs:
            job.cancel()
        until = time.monotonic() + self.PATIENCE
        while len(self.gone(jobs)) < len(jobs) and time.monotonic() < until:
            time.sleep(0.1)

    def node(self, job: Any) -> str:
        """This machine."""
        return os.uname().nodename


def _ids(jobs: Iterable[Any]) -> list[str]:
    return [job.job_id for job in jobs]


def _said(command: Sequence[str]) -> str | None:
    """What a command printed; None where it could not do what it was asked."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    return None if done.returncode else done.stdout
