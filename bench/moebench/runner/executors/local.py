"""The executor on this machine: as many worker processes as fit, one run each."""

from __future__ import annotations

import math
import secrets
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from moebench import machine
from moebench.errors import DeviceError
from moebench.processes import end, start
from moebench.records import Cell, Record, Store
from moebench.records.leases import Leases
from moebench.runner.executors.base import Ended, Tick
from moebench.runner.job import Job
from moebench.runner.latency_session import run_session
from moebench.runner.machine_lock import alone, someone_is_alone
from moebench.runner.options import RunLimits, RunOptions
from moebench.runner.outcomes import Verdict, after_exit
from moebench.runner.stopping import ENDED_EARLY, HELD
from moebench.runner.watch import Watch

GRACE = 60.0
"""Seconds that a run has to end in, once it was asked to: a checkpoint takes one step, scoring is finished."""

LOOK_SECONDS = 0.5
"""How often the logs and clocks of running jobs are checked."""

NO_LIMITS = RunLimits()


def open_executor(how: RunOptions, threads: int) -> LocalExecutor:
    """The executor of that name."""
    how.check_options({})
    return LocalExecutor(how.results, how.workers, threads, how.limits, how.ranks)


@dataclass
class _Running:
    job: Job
    process: ForkServerProcess
    log: Path
    watch: Watch
    device: str
    verdict: Verdict | None = None


class LocalExecutor:
    """Runs jobs in processes of this machine."""

    def __init__(
        self,
        results: Path,
        workers: int | None = None,
        threads: int = 1,
        limits: RunLimits = NO_LIMITS,
        ranks: int = 1,
    ) -> None:
        self._asked, self._threads, self._limits, self._ranks = workers, threads, limits, ranks
        self._workers, self._devices = workers or 1, _devices("cpu")
        self._store, self._leases = Store(results), Leases(results)
        self._logs, self._token = results / "logs", secrets.token_hex(4)
        self._running: list[_Running] = []
        self._stop_by = math.inf

    def place(self, device: str | None) -> None:
        """This machine."""

    def fit(self, device: str, seconds: float = math.inf) -> int:
        """See :func:`local_workers`."""
        self._devices = _devices(device, self._ranks)
        self._workers = local_workers(self._asked, self._threads, device, self._ranks, seconds)
        return self._workers

    @property
    def running(self) -> Sequence[Job]:
        """What is under way."""
        return [running.job for running in self._running]

    def has_room(self) -> bool:
        """Whether another job can start now: not while latency is being measured on this machine."""
        return len(self._running) < self._workers and not someone_is_alone()

    def submit(self, job: Job) -> None:
        """Start a job in a process of its own."""
        # A process of another suite may work on the same cell: each has a log of its own.
        log = self._logs / f"{job.cell.identity}-{self._token}.log"
        busy = Counter(running.device for running in self._running)
        device = min(self._devices, key=lambda each: busy[each]) if job.device == "cuda" else job.device
        process = start(_work, replace(job, device=device), str(log), log=log)
        self._running.append(_Running(job, process, log, Watch(process.pid or 0, log, idle=device == "cpu"), device))

    def wait(self, seconds: float) -> list[Ended]:
        """The jobs that ended, waiting up to so many seconds for the first."""
        wait([running.process.sentinel for running in self._running], timeout=min(seconds, LOOK_SECONDS))
        for running in self._running:
            running.verdict = running.watch.ended_by(self._limits)
            if running.verdict or self._stop_by < time.monotonic():
                end(running.process)
        ended = [running for running in self._running if not running.process.is_alive()]
        self._running = [running for running in self._running if running not in ended]
        return [(running.job, self._record_of(running)) for running in ended]

    def measure(self, cell: Cell, jobs: Sequence[Job], tick: Tick) -> Record:
        """In processes of this machine, once no run is under way on it."""
        with alone(lambda: tick("waiting for other runs on this machine")):
            return run_session(cell, jobs, tick)

    def stop(self) -> None:
        """Ask what is under way to keep a checkpoint and end."""
        self._stop_by = time.monotonic() + GRACE
        for running in self._running:
            running.process.terminate()

    def close(self) -> None:
        """End whatever still runs, at once."""
        for running in self._running:
            running.process.kill()
        for running in self._running:
            end(running.process, 5)
            running.log.unlink(missing_ok=True)
        self._running = []

    def _record_of(self, running: _Running) -> Record | None:
        end(running.process)
        identity, code = running.job.cell.identity, running.process.exitcode
        record = self._store.get(identity)
        if record is None or not (record.settled or code == 0):
            record = None
            if running.verdict or not self._is_to_go_on(code, identity):
                record = after_exit(running.job, code, running.log, running.verdict)
                self._store.put(record)
        running.log.unlink(missing_ok=True)
        return record

    def _is_to_go_on(self, code: int | None, identity: str) -> bool:
        """Whether the run was asked to stop, is another's, or is under way though the fork server is gone."""
        asked = self._stop_by < math.inf or code in (ENDED_EARLY, HELD)
        return asked or self._leases.held_by_another(identity)


SHORT = 60.0
"""Seconds. A run that is shorter leaves a GPU idle while it starts, is scored, and starts kernels."""

TOGETHER = 6
"""Short runs at a time on a GPU, where there are as many processors."""


def local_workers(asked: int | None, threads: int, device: str, ranks: int = 1, seconds: float = math.inf) -> int:
    """How many workers fit: on the CPU by processors and the threads of a run, on GPUs one for so many ``ranks``, and
    several where the longest run is guessed to take few ``seconds``.
    """
    if asked is not None:
        return asked
    processors = max(1, machine.cores() // threads)
    if not device.startswith("cuda"):
        return processors
    gpus = len(_devices(device, ranks))
    return max(gpus, min(TOGETHER * gpus, processors)) if seconds < SHORT and ranks == 1 else gpus


def _devices(device: str, ranks: int = 1) -> tuple[str, ...]:
    """The first devices that runs may take, their further ranks on the next ones; "cuda" stands for all of them."""
    if not device.startswith("cuda") or (device != "cuda" and ranks == 1):
        return (device,)
    import torch  # asks the driver, and does not start CUDA

    count = torch.cuda.device_count()
    first = torch.device(device).index or 0
    if ranks > 1 and first + ranks > count:
        raise DeviceError(
            f"{ranks} ranks from {device} on need a GPU each; this machine has {count or 'none'}.",
            code="too-few-gpus",
            ranks=ranks,
            count=count,
        )
    if device != "cuda":
        return (device,)
    return tuple(f"cuda:{index}" for index in range(0, count - ranks + 1, ranks)) or (device,)


def _work(job: Job, log: str) -> None:
    """The body of a worker process."""
    from moebench.runner.worker import work

    work(job, log)
