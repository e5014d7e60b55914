"""The seam behind which runs are executed: what every executor does, and what it is opened with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from moebench.errors import UsageError
from moebench.records import Cell, Record
from moebench.runner.job import Job
from moebench.training.device import Place

SILENCE = 1800.0
"""Seconds without a sign of life after which a run counts as hung: training shows one every second."""

POLL_SECONDS = 1.0
"""Between two looks at what has ended."""

Ended = tuple[Job, Record | None]
"""A job and the record it left; None where it ended by no fault of its own and may be tried again: it was told to stop,
another process holds it, or its machine is gone."""

Tick = Callable[[str], None]
"""Told what is going on while a latency session runs; raises to end it."""


@dataclass(frozen=True)
class Limits:
    """timeout: the longest a run may take, in seconds (None: no limit). silence: the longest it may show nothing."""

    timeout: float | None = None
    silence: float = SILENCE


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What an executor is opened with.

    workers: runs at a time (None: as many as fit). threads: of one run, all its ranks together. ranks: processes that
    train one model together, each on a GPU of its own where there are GPUs. options: what only one executor knows, as
    given by ``--executor-option NAME=VALUE``.
    """

    results: Path
    workers: int | None = None
    threads: int = 1
    ranks: int = 1
    limits: Limits = field(default_factory=Limits)
    options: Mapping[str, str] = field(default_factory=dict)

    def only(self, executor: str, known: Mapping[str, str]) -> Mapping[str, str]:
        """The options; :class:`UsageError` for one that is not ``known`` (name -> what it is)."""
        for name in self.options:
            if name not in known:
                takes = "; ".join(f"{each}: {words}" for each, words in known.items()) or "none"
                raise UsageError(f"executor '{executor}' has no option '{name}'; it takes {takes}.")
        return self.options


class Executor(Protocol):
    """Runs jobs somewhere. Whatever becomes of a job, its cell ends with a record that says so, or is given back.

    The record is in the results directory before ``wait`` returns it.
    """

    def place(self, device: str | None) -> Place | None:
        """Where jobs run, for planning; None where that is this machine."""

    def fit(self, device: str) -> int:
        """How many jobs run at a time on such a device; called once, before the first ``submit``."""

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
