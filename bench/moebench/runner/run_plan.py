"""Run a plan: every work that is ready, until none is left; then what measures time, with the machine to itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from moebench.plans.generations import grown
from moebench.plans.latency import latency_cells
from moebench.plans.plan import Plan, Work
from moebench.plugins.named import plain
from moebench.records import Cell, Record, Store, is_settled
from moebench.records.leases import Leases
from moebench.runner.executors.base import POLL_SECONDS, Executor
from moebench.runner.job import Job
from moebench.runner.progress import Progress
from moebench.runner.schedule import drain
from moebench.runner.stopping import Stop, Stopped


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
    """What a run came to: the plan as it grew, every work that is not done, with its status and reason, and the
    sentences that runs left beside their records.
    """

    plan: Plan
    ran: int = 0
    unfinished: list[tuple[str, str, str]] = field(default_factory=list)
    noted: list[str] = field(default_factory=list)


OnRecord = Callable[[Record], None]
"""Told of every finished run, but for those that had the machine alone: whoever is told may work beside the next."""


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
    before_alone: Callable[[], None],
    stop: Stop,
) -> Outcome:
    """Run what is missing. Every finished run is on disk before the next one starts in its place.

    before_alone: called before anything that needs the machine to itself. Returns early, with nothing under way, once
    ``stop`` is set.
    """
    run = _Run(Outcome(plan), Records(Store(results)), executor, _Jobs(plan, results, options), progress, on_record)
    run.drain(stop)
    if not stop:
        before_alone()
        run.measure_latency(stop)
        run.drain(stop, alone=True)
    if not stop:
        run.outcome.unfinished = list(run.unfinished())
    return run.outcome


@dataclass(frozen=True)
class _Run:
    outcome: Outcome
    lookup: Records
    executor: Executor
    jobs: _Jobs
    progress: Progress
    on_record: OnRecord

    def drain(self, stop: Stop, *, alone: bool = False) -> None:
        """Run what is ready, side by side, or one after the other where it needs the machine alone."""

        def ready() -> Iterable[Work]:
            self.outcome.plan = grown(self.outcome.plan, self.lookup)
            return self.outcome.plan.ready(self.lookup, alone=alone)

        drained = drain(
            ready,
            self.jobs.of,
            self.lookup,
            self.executor,
            self.lookup.store,
            self.progress,
            stop,
            at_most=1 if alone else None,
        )
        for work, record in drained:
            self._ended(work.label, record)
            if not alone:
                self.on_record(record)

    def measure_latency(self, stop: Stop) -> None:
        for cell in latency_cells(self.outcome.plan, self.lookup):
            try:
                record = self._measured(cell, stop)
            except Stopped:
                return
            if record is not None:
                self._ended(f"latency {plain(cell.task)}", record)

    def unfinished(self) -> Iterator[tuple[str, str, str]]:
        """(label, status, reason) of every work and latency session that is not done."""
        plan, labels = self.outcome.plan, dict[str, str]()
        for work in plan.works(self.lookup):
            labels.setdefault(work.cell.identity, work.label)  # two rows may share their runs
        labels |= {cell.identity: f"latency {plain(cell.task)}" for cell in latency_cells(plan, self.lookup)}
        for identity, label in labels.items():
            record = self.lookup(identity)
            if record is None:
                yield label, "skipped", "the run that it is derived from is not done."
            elif not record.settled:
                yield label, record.status, record.reason

    def _measured(self, cell: Cell, stop: Stop) -> Record | None:
        """The session's record; None if there was one, or another process has made it meanwhile."""

        def tick(text: str) -> None:
            self.progress.running([text])
            if stop:
                raise Stopped

        leases = Leases(self.lookup.store.root)
        while not is_settled(self.lookup(cell.identity)):
            with leases.hold(cell.identity, POLL_SECONDS) as mine:
                if mine and not is_settled(self.lookup(cell.identity)):
                    of = cell.session["finalists"]
                    finalists = [self.jobs.of_finalist(self.outcome.plan, each, self.lookup) for each in of]
                    return self.executor.measure(cell, finalists, tick)
            tick(f"latency {plain(cell.task)} elsewhere")
        return None

    def _ended(self, label: str, record: Record) -> None:
        self.outcome.ran += 1
        if noted := record.provenance.get("checkpoint"):
            self.outcome.noted.append(f"{label}: {noted}")
        self.progress.finished(label, record)


class _Jobs:
    """Makes jobs of a plan's work."""

    def __init__(self, plan: Plan, results: Path, options: Options) -> None:
        self._plan, self._results, self._options = plan, results, options

    def of(self, work: Work) -> Job:
        plan, options = self._plan, self._options
        return Job(
            cell=work.cell,
            row=work.row,
            spec=work.spec,
            label=work.label,
            suite=plan.suite.name,
            results=self._results,
            data=Path(plan.data) if plan.data else None,
            device=plan.device["torch"],
            backend=plan.backend,
            save_weights=options.save_weights,
            pickled=options.pickled.get(work.entry),
            ranked=work.ranked,
            checkpoint_seconds=options.checkpoint_seconds,
            ranks=options.ranks if work.trained else 1,
            alone=work.alone,
            plugins=plan.suite.plugins,
        )

    def of_finalist(self, plan: Plan, identity: str, lookup: Records) -> Job:
        """Of any row of the board, also of one that this run does not work on."""
        row, cell = next(
            (group.row, cell)
            for group in plan.groups
            for cell in group.final_cells(lookup)
            if cell.identity == identity
        )
        return self.of(Work(cell, row, plan.row(row).spec, 0, f"latency {row}", entry=row))
