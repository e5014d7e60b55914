"""Hand out every cell that is ready, until none is left; other processes may work through the same list."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator

from moebench import machine
from moebench.plans.plan import Lookup, Work
from moebench.records import Record, Store, is_settled
from moebench.records.leases import Leases
from moebench.runner.executors.base import POLL_SECONDS, Executor
from moebench.runner.job import Job
from moebench.runner.progress import Progress
from moebench.runner.stopping import Stop

TRIES = 4
"""How often a run is begun whose machine or process is lost by no fault of its own."""


def drain(
    ready: Callable[[], Iterable[Work]],
    job_of: Callable[[Work], Job],
    lookup: Lookup,
    executor: Executor,
    store: Store,
    progress: Progress,
    stop: Stop,
    at_most: int | None = None,
) -> Iterator[tuple[Work, Record]]:
    """Run what is not settled of the work that is ``ready``, asked again whenever runs have ended; yields each that
    ends, here or elsewhere. A run that ends with a reason is not tried twice.

    at_most: jobs at a time, where that is fewer than fit. Once ``stop`` is set nothing new starts, and what is under
    way is asked to end.
    """
    queue = _Queue(lookup, Leases(store.root))
    lost: Counter[str] = Counter()
    queue.add(ready())
    asked_to_stop = False
    while True:
        while not stop and _has_room(executor, at_most) and (work := queue.next()):
            executor.submit(job_of(work))
        ended = queue.ended()
        if stop and not asked_to_stop:
            executor.stop()
            asked_to_stop = True
        progress.running(_labels(executor, queue, stop))
        if not ended and not executor.running and (stop or queue.empty):
            return
        for job, record in executor.wait(0.0 if ended else POLL_SECONDS):
            work = queue.known[job.cell.identity]
            if record is None and not stop:
                lost[job.cell.identity] += 1
                if lost[job.cell.identity] < TRIES or queue.held(work):
                    queue.again(work)
                    continue
                record = _lost(job, store)
            if record is not None:
                ended.append((work, record))
        yield from ended
        if ended and not stop:
            queue.add(ready())


class _Queue:
    """Work that waits, and work that others have claimed."""

    def __init__(self, lookup: Lookup, leases: Leases) -> None:
        self._lookup, self._leases = lookup, leases
        self._waiting: deque[Work] = deque()
        self._elsewhere: dict[str, Record | None] = {}
        self._found: list[tuple[Work, Record]] = []
        self.known: dict[str, Work] = {}

    @property
    def empty(self) -> bool:
        """Whether nothing is left to do or to wait for."""
        return not self._waiting and not self._elsewhere

    @property
    def elsewhere(self) -> int:
        """How many runs others are at."""
        return len(self._elsewhere)

    def add(self, works: Iterable[Work]) -> None:
        """Take in what is new and not settled."""
        for work in works:
            identity = work.cell.identity
            if identity not in self.known and not is_settled(self._lookup(identity)):
                self.known[identity] = work
                self._waiting.append(work)

    def again(self, work: Work) -> None:
        """Put back what was given back."""
        self._waiting.append(work)

    def held(self, work: Work) -> bool:
        """Whether another process is at it."""
        return self._leases.held_by_another(work.cell.identity)

    def next(self) -> Work | None:
        """The next work that nobody else has done or is at."""
        while self._waiting:
            work = self._waiting.popleft()
            record = self._lookup(work.cell.identity)
            if record is not None and record.settled:
                self._found.append((work, record))
            elif self.held(work):
                self._elsewhere[work.cell.identity] = record
            else:
                return work
        return None

    def ended(self) -> list[tuple[Work, Record]]:
        """What others have ended since it was last asked; what they let go of without a record waits again."""
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


def _has_room(executor: Executor, at_most: int | None) -> bool:
    return (at_most is None or len(executor.running) < at_most) and executor.has_room()


def _labels(executor: Executor, queue: _Queue, stop: Stop) -> list[str]:
    labels = [job.label for job in executor.running]
    if stop:
        return [f"stopping: {len(labels)} under way keep a checkpoint; Ctrl-C again stops now"]
    if queue.elsewhere:
        labels.append(f"{queue.elsewhere} elsewhere")
    return labels


def _lost(job: Job, store: Store) -> Record:
    record = Record(
        identity=job.cell.identity,
        cell=job.cell.to_json(),
        status="error",
        reason=f"the machines or processes that it ran on were lost {TRIES} times.",
        provenance={"suite": job.suite, "row": job.row, "versions": machine.versions()},
    )
    store.put(record)
    return record
