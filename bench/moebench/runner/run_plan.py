"""Run a plan: every work that is ready, until none is left; then what measures time, with the machine to itself.

Other processes may work through the same plan: leases keep them from doing the same run.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from moebench.errors import MoebenchError
from moebench.frames import Frame
from moebench.plans.estimate import FINALIST_SECONDS, LATENCY_SECONDS, expected_seconds
from moebench.plans.generations import grown
from moebench.plans.latency import latency_cells
from moebench.plans.plan import Lookup, Plan, Work
from moebench.plans.rows import OBJECT
from moebench.plugins.find import find_variant, is_place
from moebench.plugins.identity import code_digest
from moebench.plugins.named import without_digest
from moebench.records import Cell, Record, Records, Store, is_settled
from moebench.records.leases import Leases
from moebench.runner.executors.base import POLL_SECONDS, Executor
from moebench.runner.job import Job
from moebench.runner.options import RunOptions
from moebench.runner.outcomes import failed
from moebench.runner.progress import Progress
from moebench.runner.stopping import Stop, Stopped

TRIES = 4
"""How often a run is begun whose machine or process is lost by no fault of its own."""

OPEN = "open"
"""The status of a run for which no time was left."""

Unfinished = tuple[str, str, str]
"""(label, status, reason) of a run that is not done."""


@dataclass
class Outcome:
    """The plan as it grew, what is not done, and the sentences that runs left beside their records.

    frames: where the errors of unfinished runs were raised, by label.
    """

    plan: Plan
    unfinished: list[Unfinished] = field(default_factory=list)
    frames: dict[str, Sequence[Frame]] = field(default_factory=dict)
    noted: list[str] = field(default_factory=list)


def run_plan(
    plan: Plan,
    how: RunOptions,
    executor: Executor,
    progress: Progress,
    stop: Stop,
    *,
    pickled: Mapping[str, bytes],
    on_record: Callable[[Record], None],
    before_alone: Callable[[], object],
    until: float = math.inf,
) -> Outcome:
    """Run what is missing. Every finished run is on disk before the next one starts in its place.

    pickled: variants given as objects, by row name. on_record: called with every finished run, but for those that had
    the machine alone: what it starts may run beside the next. before_alone: called before anything that needs the
    machine alone. Returns early, with nothing under way, once ``stop`` is set. until: of ``time.monotonic``; what would
    not end by then is not begun, and what has not ended by then keeps a checkpoint.
    """
    run = _PlanRun(Outcome(plan), how, executor, progress, stop, pickled, on_record, Records(Store(how.results)), until)
    run.drain(alone=False)
    if not run.over and (until == math.inf or not any(run.open(alone=False))):
        before_alone()
        run.measure_latency()
        run.drain(alone=True)
    if not stop:
        run.outcome.unfinished = list(run.unfinished())
    return run.outcome


@dataclass(frozen=True)
class _PlanRun:
    outcome: Outcome
    how: RunOptions
    executor: Executor
    progress: Progress
    stop: Stop
    pickled: Mapping[str, bytes]
    on_record: Callable[[Record], None]
    lookup: Records
    until: float = math.inf

    @property
    def over(self) -> bool:
        """Whether nothing more may begin."""
        return bool(self.stop) or time.monotonic() >= self.until

    def drain(self, *, alone: bool) -> None:
        """Run what is ready, side by side, or one after the other where it needs the machine alone."""
        for work, record in self._drained(alone):
            self._ended(work.label, record)
            if not alone:
                self.on_record(record)

    def _drained(self, alone: bool) -> Iterator[tuple[Work, Record]]:
        """The runs as they end, here or elsewhere. A run that ends with a reason is not tried twice.

        Once ``stop`` is set, or the time is over, nothing new starts, and what is under way is asked to end.
        """
        executor, queue = self.executor, _Queue(self.lookup, Leases(self.how.results))
        lost: Counter[str] = Counter()
        queue.add(self._ready(alone))
        fits, asked_to_stop = self._fitting(), False
        while True:
            while (room := not self.over and self._has_room(alone)) and (work := queue.next(fits)):
                executor.submit(self._job(work))
            none_fits = room and not queue.elsewhere
            ended = queue.ended()
            if self.over and not asked_to_stop:
                executor.stop()
                asked_to_stop = True
            self.progress.running(self._labels(queue.elsewhere))
            if not ended and not executor.running and (self.over or queue.empty or none_fits):
                return
            for job, record in executor.wait(0.0 if ended else POLL_SECONDS):
                work = queue.known[job.cell.identity]
                if record is None and not self.over:
                    lost[job.cell.identity] += 1
                    if lost[job.cell.identity] < TRIES or queue.held(work):
                        queue.again(work)
                        continue
                    reason = f"the machines or processes that it ran on were lost {TRIES} times."
                    record = failed(job, "error", reason)
                    self.lookup.store.put(record)
                if record is not None:
                    ended.append((work, record))
            yield from ended
            if ended and not self.over:
                queue.add(self._ready(alone))
                fits = self._fitting()

    def _fitting(self) -> Callable[[Work], bool]:
        """Whether a work would end in time, as far as is known by now."""
        if self.until == math.inf:
            return lambda work: True
        seconds = expected_seconds(self.outcome.plan, self.lookup)
        return lambda work: time.monotonic() + seconds(work) <= self.until

    def _ready(self, alone: bool) -> Iterator[Work]:
        self.outcome.plan = grown(self.outcome.plan, self.lookup)
        # What another author wrote goes first: if it fails, that is known at once.
        return iter(sorted(self.outcome.plan.ready(self.lookup, alone=alone), key=lambda work: not _is_new(work.spec)))

    def _has_room(self, alone: bool) -> bool:
        return not (alone and self.executor.running) and self.executor.has_room()

    def _labels(self, elsewhere: int) -> list[str]:
        labels = [job.label for job in self.executor.running]
        if self.stop:
            return [f"stopping: {len(labels)} under way keep a checkpoint; Ctrl-C again stops now"]
        return [*labels, f"{elsewhere} elsewhere"] if elsewhere else labels

    def measure_latency(self) -> None:
        for cell in latency_cells(self.outcome.plan, self.lookup):
            seconds = LATENCY_SECONDS + FINALIST_SECONDS * len(cell.session["finalists"])
            if time.monotonic() + seconds > self.until:
                continue
            try:
                record = self._measured(cell)
            except Stopped:
                return
            if record is not None:
                self._ended(f"latency {without_digest(cell.task)}", record)

    def _measured(self, cell: Cell) -> Record | None:
        """The session's record; None if there was one, or another process has made it meanwhile."""

        def tick(text: str) -> None:
            self.progress.running([text])
            if self.over:
                raise Stopped

        leases = Leases(self.how.results)
        while not is_settled(self.lookup(cell.identity)):
            with leases.hold(cell.identity, POLL_SECONDS) as mine:
                if mine and not is_settled(self.lookup(cell.identity)):
                    return self.executor.measure(cell, self._finalists(cell), tick)
            tick(f"waiting for the latency of {without_digest(cell.task)}, measured elsewhere")
        return None

    def _finalists(self, session: Cell) -> list[Job]:
        """Of any row of the board, also of one that this run does not work on."""
        plan = self.outcome.plan
        finals = {
            cell.identity: Work(cell, group.row, plan.row(group.row).spec, 0, f"latency {group.row}", entry=group.row)
            for group in reversed(plan.groups)  # two rows may share a run: the first one counts
            for cell in group.final_cells(self.lookup)
        }
        return [self._job(finals[identity]) for identity in session.session["finalists"]]

    def unfinished(self) -> Iterator[Unfinished]:
        plan, labels = self.outcome.plan, dict[str, str]()
        for work in plan.works(self.lookup):
            labels.setdefault(work.cell.identity, work.label)  # two rows may share their runs
        labels |= {cell.identity: f"latency {without_digest(cell.task)}" for cell in latency_cells(plan, self.lookup)}
        no_time = {**dict(self.open(alone=False)), **dict(self.open(alone=True))} if self.until < math.inf else {}
        for identity, label in labels.items():
            record = self.lookup(identity)
            if identity in no_time:
                continue
            if record is None:
                yield label, "skipped", "the run that it is derived from is not done."
            elif not record.settled:
                self.outcome.frames[label] = record.details.get("frames", ())
                yield label, record.status, record.reason
        yield from ((label, OPEN, "there was no time for it.") for label in no_time.values())

    def open(self, *, alone: bool) -> Iterator[tuple[str, str]]:
        """(identity, label) of what waits for nothing but time, or for such a run: of what needs the machine alone, or
        of the rest. Finals whose settings are not known yet have their label for an identity.
        """
        plan, seen = self.outcome.plan, self.lookup
        for work in plan.works(seen):
            waits = not work.of or seen(work.of) is None or is_settled(seen(work.of))
            if work.alone == alone and seen(work.cell.identity) is None and waits:
                yield work.cell.identity, work.label
        if alone:
            for cell in latency_cells(plan, seen):
                if seen(cell.identity) is None:
                    yield cell.identity, f"latency {without_digest(cell.task)}"
            return
        for group in plan.selected_groups():
            known = [seen(cell.identity) for cell in group.trial_cells]
            if len(known) < len(group.shared) or None in known:
                labels = (f"{group.row} {without_digest(group.task)} final {i}" for i in range(len(group.final_seeds)))
                yield from ((label, label) for label in labels)

    def _ended(self, label: str, record: Record) -> None:
        if noted := record.provenance.get("checkpoint"):
            self.outcome.noted.append(f"{label}: {noted}")
        self.progress.finished(label, record)

    def _job(self, work: Work) -> Job:
        plan, how = self.outcome.plan, self.how
        return Job(
            cell=work.cell,
            row=work.row,
            spec=work.spec,
            label=work.label,
            suite=plan.suite.name,
            results=how.results.absolute(),
            data=Path(plan.data) if plan.data else None,
            device=plan.device["torch"],
            backend=plan.backend,
            save_weights=how.save_weights,
            pickled=self.pickled.get(work.entry),
            ranked=work.ranked,
            checkpoint_seconds=how.checkpoint_seconds,
            ranks=how.ranks if work.trained else 1,
            alone=work.alone,
            plugins=plan.suite.plugins,
            code=_code_of(work.spec),
            thin=plan.suite.thin_sidecars,
            graphs=plan.suite.training.graphs,
            deterministic=plan.suite.training.deterministic,
        )


def _is_new(spec: str) -> bool:
    """Whether it is a file or an object, no installed variant."""
    return spec == OBJECT or is_place(spec)


@cache
def _code_of(spec: str) -> str:
    """The digest of a variant's code; empty for an object, and where there is none to be read."""
    try:
        return code_digest(find_variant(spec))
    except MoebenchError:
        return ""


class _Queue:
    """Work that waits, and work that other processes hold. known: all work so far, by identity."""

    def __init__(self, lookup: Lookup, leases: Leases) -> None:
        self._lookup, self._leases = lookup, leases
        self._waiting: deque[Work] = deque()
        self._elsewhere: dict[str, Record | None] = {}
        self._found: list[tuple[Work, Record]] = []
        self.known: dict[str, Work] = {}

    @property
    def empty(self) -> bool:
        return not self._waiting and not self._elsewhere

    @property
    def elsewhere(self) -> int:
        return len(self._elsewhere)

    def add(self, works: Iterable[Work]) -> None:
        for work in works:
            identity = work.cell.identity
            if identity not in self.known and not is_settled(self._lookup(identity)):
                self.known[identity] = work
                self._waiting.append(work)

    def again(self, work: Work) -> None:
        self._waiting.append(work)

    def held(self, work: Work) -> bool:
        return self._leases.held_by_another(work.cell.identity)

    def next(self, fits: Callable[[Work], bool]) -> Work | None:
        """The next work that no other process has done or holds, of those that ``fits`` holds of."""
        left = list[Work]()
        found = None
        while self._waiting and found is None:
            work = self._waiting.popleft()
            record = self._lookup(work.cell.identity)
            if record is not None and record.settled:
                self._found.append((work, record))
            elif self.held(work):
                self._elsewhere[work.cell.identity] = record
            elif fits(work):
                found = work
            else:
                left.append(work)
        self._waiting.extendleft(reversed(left))
        return found

    def ended(self) -> list[tuple[Work, Record]]:
        """What others have ended since the last call; what they released without a record waits again."""
        for identity, before in list(self._elsewhere.items()):
            record, work = self._lookup(identity), self.known[identity]
            if not is_settled(record):
                if self.held(work):
                    continue
                record = self._lookup(identity)  # it may have ended between the two
            del self._elsewhere[identity]
            if record is None or record == before:
                self._waiting.appendleft(work)
            else:
                self._found.append((work, record))
        found, self._found = self._found, []
        return found
