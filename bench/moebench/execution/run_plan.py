"""Run a plan: every cell that is ready, until none is left; then measure latency, alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from moebench.execution.executors.base import Executor
from moebench.execution.job import Job
from moebench.execution.progress import Progress
from moebench.execution.schedule import POLL_SECONDS, drain
from moebench.execution.stopping import Stop, Stopped
from moebench.planning.generations import grown
from moebench.planning.latency import latency_cells
from moebench.planning.plan import Plan, Work
from moebench.runs import Cell, Record, Store, is_settled
from moebench.runs.claims import Claims


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a plan is run; nothing here changes a result. pickled: variants given as objects, by row name.

    checkpoint_seconds: of training between two checkpoints. ranks: processes that train one model together.
    """

    save_weights: bool = True
    checkpoint_seconds: float = 60.0
    ranks: int = 1
    pickled: Mapping[str, bytes] = field(default_factory=dict)


@dataclass
class Outcome:
    """What a run came to: the plan as it grew, every cell that is not done, with its status and reason, and the
    sentences that runs left beside their records.
    """

    plan: Plan
    ran: int = 0
    unfinished: list[tuple[str, str, str]] = field(default_factory=list)
    noted: list[str] = field(default_factory=list)


OnRecord = Callable[[Work | None, Record], None]
"""Told of every finished run; Work is None for a latency session."""


class Records:
    """A store's records, each settled one read once."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._settled: dict[str, Record] = {}

    def __call__(self, identity: str) -> Record | None:
        """The record of an identity, or None."""
        if identity in self._settled:
            return self._settled[identity]
        record = self.store.get(identity)
        if record is not None and record.settled:
            self._settled[identity] = record
        return record


def run_plan(
    plan: Plan,
    results: Path,
    options: Options,
    executor: Executor,
    progress: Progress,
    on_record: OnRecord,
    before_latency: Callable[[], None],
    stop: Stop,
) -> Outcome:
    """Run what is missing. Every finished run is on disk before the next one starts in its place.

    Returns early, with nothing under way, once ``stop`` is set.
    """
    run = _Run(Outcome(plan), Records(Store(results)), executor, _Jobs(plan, results, options), progress, on_record)
    try:
        run.train(stop)
        if not stop:
            before_latency()
            run.measure(stop)
    finally:
        executor.close()
    return run.outcome


@dataclass(frozen=True)
class _Run:
    outcome: Outcome
    lookup: Records
    executor: Executor
    jobs: _Jobs
    progress: Progress
    on_record: OnRecord

    def train(self, stop: Stop) -> None:
        def ready() -> Iterable[Work]:
            self.outcome.plan = grown(self.outcome.plan, self.lookup)
            return self.outcome.plan.work(self.lookup)

        drained = drain(ready, self.jobs.of, self.lookup, self.executor, self.lookup.store, self.progress, stop)
        for work, record in drained:
            self._ended(work.label, work, record)

    def measure(self, stop: Stop) -> None:
        for cell in latency_cells(self.outcome.plan, self.lookup):
            try:
                record = self._measured(cell, stop)
            except Stopped:
                return
            if record is not None:
                self._ended(f"latency {cell.task}", None, record)

    def _measured(self, cell: Cell, stop: Stop) -> Record | None:
        """The session's record; None if there was one, or another process has made it meanwhile."""

        def tick(text: str) -> None:
            self.progress.running([text])
            if stop:
                raise Stopped

        claims = Claims(self.lookup.store.root)
        while not is_settled(self.lookup(cell.identity)):
            with claims.hold(cell.identity, POLL_SECONDS) as mine:
                if mine and not is_settled(self.lookup(cell.identity)):
                    of = cell.session["finalists"]
                    finalists = [self.jobs.of_finalist(self.outcome.plan, each, self.lookup) for each in of]
                    return self.executor.measure(cell, finalists, tick)
            tick(f"latency {cell.task} elsewhere")
        return None

    def _ended(self, label: str, work: Work | None, record: Record) -> None:
        self.outcome.ran += 1
        if not record.settled:
            self.outcome.unfinished.append((label, record.status, record.reason))
        if noted := record.provenance.get("checkpoint"):
            self.outcome.noted.append(f"{label}: {noted}")
        self.progress.finished(label, record)
        self.on_record(work, record)


class _Jobs:
    """Makes jobs of a plan's work."""

    def __init__(self, plan: Plan, results: Path, options: Options) -> None:
        self._plan, self._results, self._options = plan, results, options

    def of(self, work: Work) -> Job:
        return self._job(work.cell, work.row, work.spec, work.label)

    def of_finalist(self, plan: Plan, identity: str, lookup: Records) -> Job:
        record = lookup(identity)
        assert record is not None
        row = next(
            group.row for group in plan.groups if any(cell.identity == identity for cell in group.final_cells(lookup))
        )
        return self._job(Cell.from_json(record.cell), row, plan.row(row).spec, f"latency {row}")

    def _job(self, cell: Cell, row: str, spec: str, label: str) -> Job:
        return Job(
            cell=cell,
            row=row,
            spec=spec,
            label=label,
            suite=self._plan.suite.name,
            results=self._results,
            data=Path(self._plan.data) if self._plan.data else None,
            device=self._plan.device["torch"],
            backend=self._plan.backend,
            save_weights=self._options.save_weights,
            pickled=self._options.pickled.get(row),
            checkpoint_seconds=self._options.checkpoint_seconds,
            ranks=self._options.ranks,
        )
