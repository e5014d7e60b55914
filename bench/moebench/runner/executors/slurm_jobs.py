"""What submitit calls on a node. Each leaves an answer, a small JSON file, beside the logs of the job.

submitit would send answers back as pickles; none of those is read.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from submitit.helpers import DelayedSubmission

from moebench.errors import MoebenchError
from moebench.records import Cell
from moebench.records.store import write_atomic
from moebench.runner.executors.base import Limits
from moebench.runner.executors.node import measure_here, run_here
from moebench.runner.job import Job
from moebench.runner.stopping import Stop, listening
from moebench.training.device import here

Answer = dict[str, Any]


@dataclass(frozen=True)
class Look:
    """Says what the node is."""

    answer: Path
    device: str | None

    def __call__(self) -> None:
        """``{"place": ...}`` or ``{"error": ...}``."""
        try:
            place = here(self.device)
        except MoebenchError as error:
            _say(self.answer, error=str(error))
            return
        _say(self.answer, place=vars(place))


@dataclass(frozen=True)
class Measure:
    """A latency session; begun anew where it is requeued."""

    answer: Path
    cell: Cell
    jobs: Sequence[Job]

    def __call__(self) -> None:
        """``{}`` once there is a record, or ``{"error": ...}``."""
        try:
            with listening() as stop:
                left = measure_here(self.cell, self.jobs, stop)
        except MoebenchError as error:
            _say(self.answer, error=str(error))
            return
        if left:
            _say(self.answer)


class Run:
    """One run. told: a file that is there once runs are to end, for those that begin after they were told to."""

    def __init__(self, answer: Path, job: Job, limits: Limits, told: Path) -> None:
        self._answer, self._job, self._limits, self._told = answer, job, limits, told
        self._stop = Stop()
        self._going: Future[bool] | None = None

    def __call__(self) -> None:
        """``{}`` once there is a record. A run that was told to end leaves no answer: SLURM may requeue it."""
        # In a thread, so that ``checkpoint``, which interrupts the main one, can wait for its end.
        with listening(self._stop), ThreadPoolExecutor(1) as pool:
            if self._told.exists():
                return
            self._going = pool.submit(run_here, self._job, self._limits, self._stop)
            if self._going.result():
                _say(self._answer)

    def checkpoint(self) -> DelayedSubmission | None:
        """Called by submitit, by signal, where the time is up or others go first: what to requeue."""
        self._stop.signum = signal.SIGUSR2
        if self._going is not None:
            wait_for([self._going])
        if self._told.exists():
            return None
        return DelayedSubmission(Run(self._answer, self._job, self._limits, self._told))


def _say(path: Path, **answer: Any) -> None:
    write_atomic(path, json.dumps(answer).encode())
