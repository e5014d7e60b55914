"""Run a plan: every cell that is ready, until none is left; then measure latency, alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from moebench.execution.job import Job
from moebench.execution.latency_session import run_session
from moebench.execution.local import LocalExecutor
from moebench.execution.progress import Progress
from moebench.execution.schedule import drain, settled
from moebench.planning.generations import grown
from moebench.planning.latency import latency_cells
from moebench.planning.plan import Plan, Work
from moebench.runs import Cell, Record, Store


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a plan is run; nothing here changes a result. pickled: variants given as objects, by row name."""

    workers: int
    save_weights: bool = True
    timeout: float | None = None
    pickled: Mapping[str, bytes] = field(default_factory=dict)


@dataclass
class Outcome:
    """What a run came to: the plan as it grew, and every cell that is not done, with its status and reason."""

    plan: Plan
    ran: int = 0
    unfinished: list[tuple[str, str, str]] = field(default_factory=list)


OnRecord = Callable[[Work | None, Record], None]
"""Told of every finished run; Work is None for a latency session."""


class Records:
    """A store's records, each settled one read once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._settled: dict[str, Record] = {}

    def __call__(self, identity: str) -> Record | None:
        """The record of an identity, or None."""
        if identity in self._settled:
            return self._settled[identity]
        record = self._store.get(identity)
        if record is not None and record.settled:
            self._settled[identity] = record
        return record


def run_plan(
    plan: Plan,
    results: Path,
    options: Options,
    progress: Progress,
    on_record: OnRecord,
    before_latency: Callable[[], None],
) -> Outcome:
    """Run what is missing. Every finished run is on disk before the next one starts in its place."""
    lookup = Records(Store(results))
    outcome = Outcome(plan)
    executor = LocalExecutor(results, options.workers, options.timeout)
    try:
        _train(outcome, lookup, executor, _Jobs(plan, results, options), progress, on_record)
        before_latency()
        _measure(outcome, lookup, _Jobs(plan, results, options), progress, on_record)
    finally:
        executor.close()
    return outcome


def _train(
    outcome: Outcome, lookup: Records, executor: LocalExecutor, jobs: _Jobs, progress: Progress, on_record: OnRecord
) -> None:
    def ready() -> Iterable[Work]:
        outcome.plan = grown(outcome.plan, lookup)
        return outcome.plan.work(lookup)

    for work, record in drain(ready, jobs.of, lookup, executor, progress):
        outcome.ran += 1
        if not record.settled:
            outcome.unfinished.append((work.label, record.status, record.reason))
        progress.finished(work.label, record)
        on_record(work, record)


def _measure(outcome: Outcome, lookup: Records, jobs: _Jobs, progress: Progress, on_record: OnRecord) -> None:
    for cell in latency_cells(outcome.plan, lookup):
        if settled(lookup(cell.identity)):
            continue
        finalists = [jobs.of_finalist(outcome.plan, identity, lookup) for identity in cell.session["finalists"]]
        label = f"latency {cell.task}"
        record = run_session(cell, finalists, outcome.plan.device["torch"], lambda text: progress.running([text]))
        outcome.ran += 1
        if not record.settled:
            outcome.unfinished.append((label, record.status, record.reason))
        progress.finished(label, record)
        on_record(None, record)


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
        )
