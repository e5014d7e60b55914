"""What an executor of several machines does on one of them: run a job, measure latency, describe the node.

Only plain answers go back: results are records in the results directory, which the nodes share.
"""

from __future__ import annotations

import platform
import secrets
import time
from collections.abc import Sequence
from pathlib import Path

from moebench.errors import DeviceError, ResultsError
from moebench.records import Cell, Store, is_settled
from moebench.runner.executors.base import POLL_SECONDS
from moebench.runner.executors.local import LocalExecutor
from moebench.runner.job import Job
from moebench.runner.latency_session import run_session
from moebench.runner.machine_lock import alone
from moebench.runner.options import RunLimits
from moebench.runner.stopping import Stop, Stopped
from moebench.training.device import DeviceInfo, here


def leave_mark(results: Path) -> Path:
    """A new file in the results directory, by which a node proves that it has access to it."""
    mark = results / ".nodes" / secrets.token_hex(8)
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()
    return mark


def find_mark(mark: Path) -> None:
    """:class:`ResultsError` where this machine does not see the file."""
    if not mark.exists():
        raise unseen(mark.parents[1], platform.node())


def unseen(results: Path, node: str) -> ResultsError:
    """The error for nodes that do not share the results directory."""
    return ResultsError(
        f"the node '{node}' does not see the results directory '{results}'; "
        "choose one that every node sees under the same name with --results DIR.",
        code="results-not-shared",
        node=node,
        results=results,
    )


def place_here(mark: Path, asked: str | None) -> DeviceInfo:
    """The device of this node, if it sees the results directory."""
    find_mark(mark)
    return here(asked)


def run_here(job: Job, limits: RunLimits, stop: Stop) -> bool:
    """Run a job as ``--executor local`` would, until it ends, or keeps a checkpoint because ``stop`` is set; whether it
    left a record.
    """
    if is_settled(Store(job.results).get(job.cell.identity)):  # handed out twice: this node is its second
        return True
    executor = LocalExecutor(job.results, 1, job.cell.threads * job.ranks, limits, job.ranks)
    executor.fit(job.device)
    left, asked = False, False
    try:
        while not executor.has_room():  # latency is being measured here
            if stop:
                return False
            time.sleep(POLL_SECONDS)
        executor.submit(job)
        while executor.running:
            if stop and not asked:
                executor.stop()
                asked = True
            left = any(record is not None for _, record in executor.wait(POLL_SECONDS))
    finally:
        executor.close()
    return left


def measure_here(cell: Cell, jobs: Sequence[Job], stop: Stop) -> bool:
    """Run a latency session alone on this node; whether it left a record.

    :class:`DeviceError` where the node's device is not the one that the session is planned for.
    """
    wanted, found = cell.session["device"], here(jobs[0].device).name
    if found != wanted:
        raise DeviceError(
            f"latency is to be measured on '{wanted}', and the node '{platform.node()}' has '{found}'; "
            "choose such a node with --executor-option.",
            code="node-lacks-device",
            wanted=wanted,
            found=found,
        )

    def tick(text: str) -> None:
        if stop:
            raise Stopped

    try:
        with alone(lambda: tick("")):
            run_session(cell, jobs, tick)
    except Stopped:
        return False
    return True
