"""What every executor does: runs jobs somewhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

from moebench.records import Cell, Record
from moebench.runner.job import Job
from moebench.training.device import DeviceInfo

POLL_SECONDS = 1.0
"""Between two checks for what has ended."""

Ended = tuple[Job, Record | None]
"""A job and the record it left; None where it ended by no fault of its own and may be tried again: it was asked to
stop, another process holds it, or its machine is gone."""

Tick = Callable[[str], None]
"""Called, while a latency session runs, with what is going on; raises to end it."""


class Executor(Protocol):
    """Runs jobs somewhere. Whatever becomes of a job, its cell ends with a record that states it, or is given back.

    The record is in the results directory before ``wait`` returns it.
    """

    def place(self, device: str | None) -> DeviceInfo | None:
        """Where jobs run, for planning; None where that is this machine."""

    def fit(self, device: str, seconds: float = math.inf) -> int:
        """How many jobs run at a time on such a device; called once, before the first ``submit``. seconds: that the
        longest is guessed to take, alone there.
        """

    @property
    def running(self) -> Sequence[Job]:
        """What is under way."""

    def has_room(self) -> bool:
        """Whether another job can start now."""

    def submit(self, job: Job) -> None:
        """Start a job."""

    def wait(self, seconds: float) -> list[Ended]:
        """The jobs that ended, waiting up to so many seconds for the first."""

    def measure(self, cell: Cell, jobs: Sequence[Job], tick: Tick) -> Record:
        """Run a latency session of finalists on one machine, alone, and write its record."""

    def stop(self) -> None:
        """Ask what is under way to keep a checkpoint and end; ``wait`` gives it back."""

    def close(self) -> None:
        """End whatever still runs, at once; its cells have no record and are run again next time."""
