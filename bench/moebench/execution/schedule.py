"""Hand out every cell that is ready, until none is left."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from moebench.execution.job import Job
from moebench.execution.local import LocalExecutor
from moebench.execution.progress import Progress
from moebench.planning.plan import Lookup, Work
from moebench.runs import Record

POLL_SECONDS = 1.0


def drain(
    ready: Callable[[], Iterable[Work]],
    job_of: Callable[[Work], Job],
    lookup: Lookup,
    executor: LocalExecutor,
    progress: Progress,
) -> Iterator[tuple[Work, Record]]:
    """Run what is not settled of the work that is ``ready``, asked again whenever runs have ended; yields each that
    ends. Nothing is tried twice.
    """
    attempted: dict[str, Work] = {}
    queue: deque[Work] = deque()
    while True:
        for work in ready():
            identity = work.cell.identity
            if identity not in attempted and not settled(lookup(identity)):
                attempted[identity] = work
                queue.append(work)
        while queue and executor.has_room():
            executor.submit(job_of(queue.popleft()))
        progress.running([job.label for job in executor.running])
        if not executor.running:
            return
        for job, record in executor.wait(POLL_SECONDS):
            yield attempted[job.cell.identity], record


def settled(record: Record | None) -> bool:
    """Whether a run counts, so that it need not run again."""
    return record is not None and record.settled
