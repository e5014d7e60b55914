"""What submitit calls on a node. Each leaves an answer, a small JSON file, beside the logs of the job.

submitit would send answers back as pickles; none of those is read.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from submitit.helpers import DelayedSubmission

from moebench.errors import MoebenchError
from moebench.records import Cell
from moebench.records.store import write_atomic
from moebench.runner.executors.node import measure_here, run_here
from moebench.runner.job import Job
from moebench.runner.options import RunLimits
from moebench.runner.stopping import Stop, listening
from moebench.training.device import here

Answer = dict[str, Any]


@dataclass(frozen=True)
class Question:
    """Something to find out on a node, anew where the job is requeued. body: called with ``args`` and a Stop."""

    answer: Path
    body: Callable[..., Answer | None]
    args: tuple[Any, ...]

    def __call__(self) -> None:
        """The body's answer, or ``{"error": ...}``."""
        try:
            with listening() as stop:
                answer = self.body(*self.args, stop)
        except MoebenchError as error:
            answer = {"error": str(error)}
        if answer is not None:
            write_atomic(self.answer, json.dumps(answer).encode())


def look(device: str | None, stop: Stop) -> Answer:
    """The node's place."""
    return {"place": vars(here(device))}


def measure(cell: Cell, jobs: Sequence[Job], stop: Stop) -> Answer | None:
    """``{}`` once a latency session has left its record."""
    return {} if measure_here(cell, jobs, stop) else None


class SlurmRun:
    """One run. stop: a file that exists once runs are to end, for those that begin after that."""

    def __init__(self, answer: Path, job: Job, limits: RunLimits, stop: Path) -> None:
        self._answer, self._job, self._limits, self._stop_file = answer, job, limits, stop
        self._stop = Stop()
        self._going: Future[bool] | None = None

    def __call__(self) -> None:
        """``{}`` once there is a record. A run that was asked to end leaves no answer: SLURM may requeue it."""
        # In a thread, so that ``checkpoint``, which interrupts the main one, can wait for its end.
        with listening(self._stop), ThreadPoolExecutor(1) as pool:
            if self._stop_file.exists():
                return
            self._going = pool.submit(run_here, self._job, self._limits, self._stop)
            if self._going.result():
                write_atomic(self._answer, b"{}")

    def checkpoint(self) -> DelayedSubmission | None:
        """Called by submitit, by signal, where the time is up or others go first: what to requeue."""
        self._stop.signum = signal.SIGUSR2
        if self._going is not None:
            wait_for([self._going])
        if self._stop_file.exists():
            return None
        return DelayedSubmission(SlurmRun(self._answer, self._job, self._limits, self._stop_file))
