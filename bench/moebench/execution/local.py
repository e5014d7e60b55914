"""The executor on this machine: as many worker processes as fit, one cell each."""

from __future__ import annotations

import time
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from moebench import machine
from moebench.execution.job import Job
from moebench.execution.processes import start
from moebench.runs import Record, Status, Store

TAIL = 2000
"""Characters of a dead worker's output that its record keeps."""


@dataclass
class _Running:
    job: Job
    process: ForkServerProcess
    log: Path
    since: float


class LocalExecutor:
    """Runs jobs in processes; whatever happens to a process, its cell ends with a record that says so."""

    def __init__(self, results: Path, workers: int, timeout: float | None = None) -> None:
        self.workers = workers
        self._store = Store(results)
        self._logs = results / "logs"
        self._timeout = timeout
        self._running: list[_Running] = []

    @property
    def running(self) -> list[Job]:
        """What is under way."""
        return [running.job for running in self._running]

    def has_room(self) -> bool:
        """Whether another job can start now."""
        return len(self._running) < self.workers

    def submit(self, job: Job) -> None:
        """Start a job in a process of its own."""
        log = self._logs / f"{job.cell.identity}.log"
        self._running.append(_Running(job, start(_work, job, log=log), log, time.monotonic()))

    def wait(self, seconds: float) -> list[tuple[Job, Record]]:
        """The jobs that ended, waiting up to so many seconds for the first."""
        wait([running.process.sentinel for running in self._running], timeout=seconds)
        self._stop_late_ones()
        ended = [running for running in self._running if not running.process.is_alive()]
        self._running = [running for running in self._running if running.process.is_alive()]
        return [(running.job, self._record_of(running)) for running in ended]

    def close(self) -> None:
        """End whatever still runs; its cells have no record and are run again next time."""
        for running in self._running:
            running.process.terminate()
        for running in self._running:
            running.process.join(5)
        self._running = []

    def _stop_late_ones(self) -> None:
        for running in self._running:
            if self._timeout is not None and time.monotonic() - running.since > self._timeout:
                running.process.kill()
                running.process.join()
                reason = f"it ran longer than {self._timeout:g} seconds."
                self._store.put(_record_without_result(running.job, "timeout", reason))

    def _record_of(self, running: _Running) -> Record:
        running.process.join()
        record = self._store.get(running.job.cell.identity)
        if record is not None and (running.process.exitcode == 0 or record.settled):
            running.log.unlink(missing_ok=True)
            return record
        if record is None or record.status != "timeout":
            status, reason = _death(running.process.exitcode, running.log)
            record = _record_without_result(running.job, status, reason)
            self._store.put(record)
        return record


def local_workers(asked: int | None, threads: int, device: str) -> int:
    """How many workers fit: on the CPU by cores and threads, on a GPU one."""
    if asked is not None:
        return asked
    return 1 if device.startswith("cuda") else max(1, machine.cores() // threads)


def _work(job: Job) -> None:
    """The body of a worker process."""
    from moebench.execution.run_cell import run_cell

    run_cell(job)


def _death(exitcode: int | None, log: Path) -> tuple[Status, str]:
    """What a process that left no result died of."""
    try:
        tail = log.read_text(encoding="utf-8", errors="replace")[-TAIL:].strip()
    except OSError:
        tail = ""
    last = tail.splitlines()[-1] if tail else "it printed nothing"
    if exitcode == -9:
        return "oom", f"the process was killed, most likely for lack of memory ({last})."
    how = f"signal {-exitcode}" if exitcode is not None and exitcode < 0 else f"exit code {exitcode}"
    return "error", f"the process ended with {how} ({last})."


def _record_without_result(job: Job, status: Status, reason: str) -> Record:
    return Record(
        identity=job.cell.identity,
        cell=job.cell.to_json(),
        status=status,
        reason=reason,
        provenance={"suite": job.suite, "row": job.row, "versions": machine.versions()},
    )
