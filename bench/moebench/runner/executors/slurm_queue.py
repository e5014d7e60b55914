"""Where submitit's jobs wait and run: SLURM's queue, or processes of this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from typing import Any


class OfSlurm:
    """By SLURM's own commands, without its accounting, which many clusters lack."""

    EVERY = 2.0
    """Seconds between two looks at it."""

    def gone(self, jobs: Sequence[Any]) -> set[str]:
        """The ids of those that neither wait nor run any more; none of them while SLURM does not answer."""
        user = f"--user={os.getuid()}"
        answer = _output(["squeue", "--noheader", "--array", "--format=%i", user]) if jobs else None
        return set() if answer is None else {job.job_id for job in jobs} - set(answer.split())

    def ask_to_end(self, jobs: Sequence[Any]) -> None:
        """Take back those that wait, which a signal leaves as they are, and send SIGTERM to those that run."""
        if ids := [job.job_id for job in jobs]:
            _output(["scancel", "--state=PENDING", *ids])
            _output(["scancel", "--signal=TERM", *ids])

    def end(self, jobs: Sequence[Any]) -> None:
        """SLURM kills those that take too long to end."""
        if ids := [job.job_id for job in jobs]:
            _output(["scancel", *ids])

    def node(self, job: Any) -> str:
        """Where it ran, as SLURM names it."""
        answer = _output(["squeue", "--noheader", "--states=all", "--format=%N", f"--jobs={job.job_id}"])
        return (answer or "").strip() or f"of SLURM's job {job.job_id}"


class OfThisMachine:
    """submitit's cluster ``local``: a process that starts another, and passes SIGTERM on to it."""

    EVERY = 0.2

    PATIENCE = 5.0
    """Seconds that processes have to end in."""

    def gone(self, jobs: Sequence[Any]) -> set[str]:
        """The ids of those whose process has ended."""
        return {job.job_id for job in jobs if job.done()}

    def ask_to_end(self, jobs: Sequence[Any]) -> None:
        """All of them run; none waits."""
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


def _output(command: Sequence[str]) -> str | None:
    """What a command printed; None where it failed."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    return None if done.returncode else done.stdout
