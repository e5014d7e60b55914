"""The body of a worker process: one run, or the reason why it is not this process's to do."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from moebench.records.leases import Leases
from moebench.runner.heartbeat import OfProcess
from moebench.runner.job import Job
from moebench.runner.machine_lock import alone, pin, share_machine
from moebench.runner.run_cell import run_cell
from moebench.runner.stopping import ENDED_EARLY, HELD, Stopped

DIES_FIRST = 500
"""Added to the kernel's score for the case that memory runs out: a run is killed before its suite."""


def work(job: Job, log: str) -> None:
    """Run a job and write its record; exits with a code of ``stopping`` if there is none to write."""
    signs = OfProcess(Path(log))
    with contextlib.suppress(OSError, ValueError):
        Path("/proc/self/oom_score_adj").write_text(str(DIES_FIRST), encoding="ascii")
    with Leases(job.results).hold(job.cell.identity) as mine:
        if not mine:
            sys.exit(HELD)
        try:
            if job.alone:
                with alone(signs.alive):
                    run_cell(job, signs)
            else:
                share_machine(signs.alive)
                if job.device.startswith("cpu"):
                    pin(job.cell.threads * job.ranks)
                run_cell(job, signs)
        except Stopped:
            sys.exit(ENDED_EARLY)
