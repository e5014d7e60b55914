"""What an executor of several machines does on one of them: run a job, measure latency, say what the node is.

Nothing but plain answers goes back: what was found out is a record in the results directory, which the nodes share.
"""

from __future__ import annotations

import platform
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from moebench.errors import DeviceError, ResultsError
from moebench.records import Cell, Store, is_settled
from moebench.runner.executors.base import POLL_SECONDS, Limits
from moebench.runner.executors.local import LocalExecutor
from moebench.runner.job import Job
from moebench.runner.latency_session import run_session
from moebench.runner.machine_lock import alone
from moebench.runner.stopping import Stop, Stopped
from moebench.training.device import Place, here


@dataclass(frozen=True)
class Mark:
    """A file in the results directory by which a node proves that it sees it."""

    results: Path
    name: str

    @property
    def path(self) -> Path:
        """Where the file lies."""
        return self.results / ".nodes" / self.name

    def leave(self) -> None:
        """Make the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch()

    def remove(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)

    def seek(self) -> None:
        """:class:`ResultsError` where this machine does not see it."""
        if not self.path.exists():
            raise unseen(self.results, platform.node())


def new_mark(results: Path) -> Mark:
    """A mark that no other process leaves."""
    return Mark(results, secrets.token_hex(8))


def unseen(results: Path, node: str) -> ResultsError:
    """What a person is told whose nodes do not share the results directory."""
    return ResultsError(
        f"the node '{node}' does not see the results directory '{results}'; "
        "choose one that every node sees under the same name with --results DIR."
    )


def place_here(mark: Mark, asked: str | None) -> Place:
    """What this node is, if it sees the results directory."""
    mark.seek()
    return here(asked)


def run_here(job: Job, limits: Limits, stop: Stop) -> bool:
    """Run a job as ``--executor local`` would, until it ends or ``stop`` is set, when it keeps a checkpoint; whether it
    left a record.
    """
    if is_settled(Store(job.results).get(job.cell.identity)):  # handed out twice: this node is its second
        return True
    executor = LocalExecutor(job.results, 1, job.cell.threads * job.ranks, limits, job.ranks)
    executor.fit(job.device)
    left, told = False, False
    try:
        while not executor.has_room():  # latency is being measured here
            if stop:
                return False
            time.sleep(POLL_SECONDS)
        executor.submit(job)
        while executor.running:
            if stop and not told:
                executor.stop()
                told = True
            left = any(record is not None for _, record in executor.wait(POLL_SECONDS))
    finally:
        executor.close()
    return left


def measure_here(cell: Cell, jobs: Sequence[Job], stop: Stop) -> bool:
    """Run a latency session alone on this node, whose device has to be the session's; whether it left a record."""
    check_device(cell, jobs)

    def tick(text: str) -> None:
        if stop:
            raise Stopped

    try:
        with alone(lambda: tick("")):
            run_session(cell, jobs, tick)
    except Stopped:
        return False
    return True


def check_device(cell: Cell, jobs: Sequence[Job]) -> None:
    """:class:`DeviceError` where this node's device is not the one that the session is planned for."""
    wanted, found = cell.session["device"], here(jobs[0].device).name
    if found != wanted:
        raise DeviceError(
            f"latency is to be measured on '{wanted}', and the node '{platform.node()}' has '{found}'; "
            "choose such a node with --executor-option."
        )
