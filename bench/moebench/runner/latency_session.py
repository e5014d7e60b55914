"""A latency session: every finalist in a process of its own, measured in turns A B C C B A, alone on the machine."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from typing import Any

from moebench.processes import end, start
from moebench.records import Cell, Record, Store
from moebench.runner.job import NO_WEIGHTS, Job
from moebench.runner.outcomes import provenance
from moebench.runner.watch import IDLE, Watch

MEMORY = ("peak_memory_mib", "resident_memory_mib", "resident_memory_batch1_mib")

ON_CUDA = ("parameters", "no_graph")
"""What a finalist tells there of what it timed."""

ANSWER_WITHIN = 600.0
"""Seconds after which a finalist without an answer counts as failed."""

LOOK_SECONDS = 1.0
"""Between two looks at whether a finalist goes on."""


@dataclass
class _Finalist:
    job: Job
    process: ForkServerProcess
    pipe: Connection
    watch: Watch
    about: dict[str, Any] = field(default_factory=dict)
    rounds: list[dict[str, float]] = field(default_factory=list)
    problem: str = ""

    def ask(self, question: str | None) -> dict[str, Any]:
        """The answer to a question (None: the first message); a dead finalist answers with its problem."""
        try:
            if question:
                self.pipe.send(question)
            if problem := self._silence():
                return {"problem": problem}
            answer: dict[str, Any] = self.pipe.recv()
        except (EOFError, OSError):
            return {"problem": "its process ended."}
        return answer

    def _silence(self) -> str:
        """Why there is no answer, once there is none; empty where there is one."""
        until = time.monotonic() + ANSWER_WITHIN
        while time.monotonic() < until:
            ready = wait([self.pipe, self.process.sentinel], timeout=LOOK_SECONDS)
            if self.pipe in ready:
                return ""
            if ready:
                return "its process ended."  # what it has started may hold the pipe open
            if not self.watch.look():
                return f"it used no processor for {IDLE:g} seconds."
        return f"it did not answer within {ANSWER_WITHIN:g} seconds."

    def measure(self) -> None:
        """One round, unless it has a problem, or no trained weights."""
        if not self.problem and self.about.get("weights") != NO_WEIGHTS:
            answer = self.ask("measure")
            self.problem = str(answer.get("problem", ""))
            if not self.problem:
                self.rounds.append(answer)

    def result(self) -> dict[str, Any]:
        """Its times by name, one a round."""
        names = self.rounds[0] if self.rounds else ()
        memory = {name: self.about.get(name) for name in MEMORY}
        return {
            "row": self.job.row,
            "weights": self.about.get("weights"),
            **{name: None if mib is None else round(mib, 2) for name, mib in memory.items()},
            **{name: self.about[name] for name in ON_CUDA if name in self.about},
            **{name: [round(each[name], 5) for each in self.rounds] for name in names},
        }


def run_session(cell: Cell, jobs: Sequence[Job], tick: Callable[[str], None]) -> Record:
    """Measure the finalists' jobs and write the session's record; ``tick`` is called in each round, and may raise."""
    started, clock = datetime.now(UTC), time.perf_counter()
    finalists = [_start(job, cell) for job in jobs]
    try:
        for finalist in finalists:  # one after the other: they share the machine
            finalist.about = finalist.ask(None)
            finalist.problem = finalist.about.get("problem", "")
        for index in range(cell.session["rounds"]):
            tick(f"latency round {index + 1}/{cell.session['rounds']}")
            for finalist in finalists if index % 2 == 0 else reversed(finalists):
                finalist.measure()
    finally:
        for finalist in finalists:
            finalist.pipe.close()
            finalist.process.join(10)
            end(finalist.process)
    problems = [f"{f.job.row}: {f.problem}" for f in finalists if f.problem]
    seconds = max(0.0, time.perf_counter() - clock)
    software = next((f.about["software"] for f in finalists if f.about.get("software")), None)
    noted = {"row": ""} | ({"device_software": software} if software else {})
    record = Record(
        identity=cell.identity,
        cell=cell.to_json(),
        status="error" if problems else "done",
        reason=" ".join(problems),
        details={"finalists": {f.job.cell.identity: f.result() for f in finalists}},
        provenance=provenance(jobs[0], cell.session["device"], started, seconds) | noted,
    )
    Store(jobs[0].results).put(record)
    return record


def _start(job: Job, cell: Cell) -> _Finalist:
    ours, theirs = multiprocessing.Pipe()
    log = job.results / "logs" / f"{cell.identity}-{job.cell.identity}.log"
    process = start(_serve, job, cell.batch, cell.session["repeats"], theirs, log=log)
    theirs.close()
    return _Finalist(job, process, ours, Watch(process.pid or 0, log, idle=job.device == "cpu"))


def _serve(job: Job, batch: int, repeats: int, pipe: Connection) -> None:
    """The body of a finalist's process."""
    from moebench.runner.latency_worker import serve

    serve(job, batch, repeats, pipe)
