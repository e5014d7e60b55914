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
from moebench.runner.executors.node import measure_here, run_here
from moebench.runner.job import Job
from moebench.runner.options import Limits
from moebench.runner.stopping import Stop, listening
from moebench.training.device import here

Answer = dict[str, Any]


@dataclass(frozen=True)
class Look:
    """Asks for the device of the node."""

    answer: Path
    device: str | None

    def __call__(self) -> None:
        """``{"place": ...}`` or ``{"error": ...}``."""
        try:
            place = here(self.device)
        except MoebenchError as error:
            _answer(self.answer, error=str(error))
            return
        _answer(self.answer, place=vars(place))


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
            _answer(self.answer, error=str(error))
            return
        if left:
            _answer(self.answer)


class Run:
    """One run. stop: a file that exists once runs are to end, for those that begin after that."""

    def __init__(self, answer: Path, job: Job, limits: Limits, stop: Path) -> None:
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
                _answer(self._answer)

    def checkpoint(self) -> DelayedSubmission | None:
        """Called by submitit, by signal, where the time is up or others go first: what to requeue."""
        self._stop.signum = signal.SIGUSR2
        if self._going is not None:
            wait_for([self._going])
        if self._stop_file.exists():
            return None
        return DelayedSubmission(Run(self._answer, self._job, self._limits, self._stop_file))


def _answer(path: Path, **answer: Any) -> None:
    write_atomic(path, json.dumps(answer).encode())
