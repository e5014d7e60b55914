"""The executor on SLURM, by submitit: job arrays, requeued from their checkpoints; needs ``moebench[slurm]``."""

from __future__ import annotations

import json
import math
import os
import secrets
import shutil
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import submitit

from moebench.errors import ResultsError, UsageError
from moebench.records import Cell, Record, Store
from moebench.runner.executors.base import Ended, Tick
from moebench.runner.executors.local import local_workers
from moebench.runner.executors.node import unseen
from moebench.runner.executors.slurm_jobs import Answer, Question, SlurmRun, look, measure
from moebench.runner.executors.slurm_queue import OfSlurm, OfThisMachine
from moebench.runner.job import Job
from moebench.runner.options import RunOptions
from moebench.training.device import DeviceInfo

OPTIONS = {
    "cluster": "slurm, or local for processes of this machine (slurm)",
    "partition": "where jobs go",
    "account": "who pays",
    "qos": "quality of service",
    "constraint": "features that a node must have",
    "time": "minutes after which a run that has not ended is requeued from its checkpoint (60)",
    "mem_gb": "memory of a run",
    "gpus": "GPUs of a run (1 for each of its ranks where runs go to GPUs)",
}

AS_THEY_ARE = ("partition", "account", "qos", "constraint")
"""Options that SLURM gets as they were given."""

MINUTES = 60

TIMEOUTS = 10_000
"""How often a run may be requeued when its time is up; ``--timeout`` limits it as a whole."""

AT_A_TIME = 100
"""Jobs that wait and run at a time without --workers: SLURM shares out the nodes."""

POLL_SECONDS = 0.2

STOP = "stop"
"""The file by which a run that begins finds out that it is to end."""


def open_executor(how: RunOptions, threads: int) -> _SlurmExecutor:
    """The executor of that name."""
    how.check_options(OPTIONS)
    cluster = how.executor_options.get("cluster", "slurm")
    if cluster not in ("slurm", "local"):
        raise UsageError(
            f"--executor-option cluster is slurm or local, not '{cluster}'.", code="unknown-cluster", cluster=cluster
        )
    if cluster == "slurm" and shutil.which("sbatch") is None:
        raise UsageError(
            "there is no sbatch here; run on a machine of SLURM, or with --executor-option cluster=local.",
            code="no-sbatch",
        )
    return _SlurmExecutor(how, threads, cluster)


class _SlurmExecutor:
    """Hands jobs to SLURM, those that are ready together as one array. What a job does on its node is what
    ``--executor local`` does with one run.
    """

    def __init__(self, how: RunOptions, threads: int, cluster: str) -> None:
        self._how, self._threads, self._cluster = how, threads, cluster
        options = how.executor_options
        self._numbers = {name: _number(name, options[name]) for name in ("time", "mem_gb", "gpus") if name in options}
        self._queue = OfSlurm() if cluster == "slurm" else OfThisMachine()
        self._store = Store(how.results)
        name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"
        self._folder = how.results / "slurm" / name
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        self._folder.mkdir(mode=0o700)  # what lies here is unpickled
        self._gpus, self._workers = 0, how.workers or 1
        self._waiting: list[Job] = []
        self._sent: list[tuple[Any, Job]] = []
        self._looked = 0.0
        self._lost = False

    def place(self, device: str | None) -> DeviceInfo:
        """The device of a node that SLURM allocates."""
        self._set_gpus(device)
        answer = self._asked(Question(self._folder / "place.answer", look, (device,)), lambda _: None)
        return DeviceInfo(**answer["place"])

    def fit(self, device: str, seconds: float = math.inf) -> int:
        """What was asked for; else AT_A_TIME, or as fit on this machine."""
        self._set_gpus(device)
        if self._cluster == "local":
            self._workers = local_workers(self._how.workers, self._threads, device, seconds=seconds)
        else:
            self._workers = self._how.workers or AT_A_TIME
        return self._workers

    @property
    def running(self) -> Sequence[Job]:
        return [*self._waiting, *(job for _, job in self._sent)]

    def has_room(self) -> bool:
        return len(self.running) < self._workers

    def submit(self, job: Job) -> None:
        """Put a job into the array that goes out next."""
        self._waiting.append(job)

    def wait(self, seconds: float) -> list[Ended]:
        """Hand over what was submitted; the jobs that ended, waiting up to so many seconds for the first."""
        self._hand_over()
        until = time.monotonic() + seconds
        while not (ended := self._ended()) and time.monotonic() < until:
            time.sleep(POLL_SECONDS)
        return ended

    def measure(self, cell: Cell, jobs: Sequence[Job], tick: Tick) -> Record:
        """In a job that has its node to itself."""
        self._asked(Question(self._answer(cell), measure, (cell, jobs)), tick, exclusive=True)
        record = self._store.get(cell.identity)
        if record is None:
            raise ResultsError(
                f"the record of the latency session {cell.identity} cannot be found.",
                code="no-latency-record",
                identity=cell.identity,
            )
        return record

    def stop(self) -> None:
        """Ask what is under way to keep a checkpoint and end; what waits is taken back."""
        (self._folder / STOP).touch()
        self._queue.ask_to_end([sent for sent, _ in self._sent])

    def close(self) -> None:
        """End whatever still runs. The logs stay where a job was lost, or still runs."""
        self._queue.end([sent for sent, _ in self._sent])
        if not self._sent and not self._lost:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._sent = []

    def _hand_over(self) -> None:
        if (self._folder / STOP).exists():
            return
        waiting, self._waiting = self._waiting, []
        for alone in (True, False):
            jobs = [job for job in waiting if job.alone is alone]
            if not jobs:
                continue
            for job in jobs:
                self._answer(job.cell).unlink(missing_ok=True)
            runs = [SlurmRun(self._answer(job.cell), job, self._how.limits, self._folder / STOP) for job in jobs]
            self._sent += zip(self._submitted(runs, exclusive=alone), jobs, strict=True)

    def _ended(self) -> list[Ended]:
        """Those that neither wait nor run any more; they have a record if they left an answer."""
        ended: list[Ended] = [(job, None) for job in self._waiting]  # only once all were asked to stop
        self._waiting = []
        if not self._sent or time.monotonic() - self._looked < self._queue.EVERY:
            return ended
        gone = self._queue.gone([sent for sent, _ in self._sent])
        self._looked = time.monotonic()
        answers = set(os.listdir(self._folder))  # over NFS a listing is fresh, which a single file's absence is not
        for sent, job in list(self._sent):
            if sent.job_id in gone:
                answered = self._answer(job.cell).name in answers
                self._sent.remove((sent, job))
                ended.append((job, self._store.get(job.cell.identity) if answered else None))
                self._lost |= not answered
        return ended

    def _asked(self, question: Question, tick: Tick, *, exclusive: bool = False) -> Answer:
        """The answer to a question that is a job of its own; an error that it names is raised."""
        question.answer.unlink(missing_ok=True)
        (sent,) = self._submitted([question], exclusive=exclusive)
        try:
            while not self._queue.gone([sent]):
                tick("waiting for a job of SLURM")
                time.sleep(self._queue.EVERY)
        except BaseException:
            self._queue.end([sent])
            raise
        if question.answer.name not in os.listdir(self._folder):
            self._lost = True
            raise self._no_answer(sent)
        answer: Answer = json.loads(question.answer.read_bytes())
        if "error" in answer:
            raise UsageError(answer["error"], code="node-error")
        return answer

    def _no_answer(self, sent: Any) -> Exception:
        """Why a job ended without one: the last line of its log; without a log, its node sees another directory."""
        logs = [path for path in (sent.paths.stderr, sent.paths.stdout) if path.exists()]
        if not logs:
            return unseen(self._how.results, self._queue.node(sent))
        lines = logs[0].read_text(errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "it printed nothing")
        return UsageError(
            f"SLURM's job {sent.job_id} ended without an answer ({last.strip()}); see '{logs[0]}'.",
            code="job-lost",
            job=sent.job_id,
            log=logs[0],
        )

    def _submitted(self, bodies: Sequence[Callable[[], None]], *, exclusive: bool) -> list[Any]:
        # Only the jobs read what is pickled here, in a directory that only its owner writes.
        options = self._how.executor_options
        executor = submitit.AutoExecutor(self._folder, cluster=self._cluster, slurm_max_num_timeout=TIMEOUTS)
        executor.update_parameters(
            name="moebench",
            cpus_per_task=self._threads,
            timeout_min=self._numbers.get("time", MINUTES),
            mem_gb=self._numbers.get("mem_gb"),
            gpus_per_node=self._gpus or None,
            slurm_array_parallelism=self._workers,
            slurm_exclusive=exclusive or None,
            slurm_additional_parameters={"requeue": True},
            **{f"slurm_{name}": options[name] for name in AS_THEY_ARE if name in options},
        )
        try:
            with executor.batch():
                return [executor.submit(body) for body in bodies]
        except RuntimeError as error:
            last = [line for line in str(error).splitlines() if line.strip()][-1]
            raise UsageError(f"SLURM did not take a job ({last.strip()}).", code="job-refused") from error

    def _answer(self, cell: Cell) -> Path:
        return self._folder / f"{cell.identity}.answer"

    def _set_gpus(self, device: str | None) -> None:
        ranks = self._how.ranks if (device or "").startswith("cuda") else 0
        self._gpus = self._numbers.get("gpus", ranks)


def _number(name: str, text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise UsageError(
            f"--executor-option {name} takes a whole number above 0, not '{text}'.", code="option-not-whole", name=name
        )
    return int(text)
