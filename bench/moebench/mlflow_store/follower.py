"""What a run of an experiment reports to MLflow, through the process that writes there."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from moebench.mlflow_store.database import could_not_write, tracking_uri
from moebench.mlflow_store.write import needs_sync
from moebench.plans.plan import Plan
from moebench.processes import program, surroundings
from moebench.records import Record, Store

SETTLE_SECONDS = 60.0
FINISH_SECONDS = 120.0
STOP_SECONDS = 5.0


class Follower:
    """Hands finished runs to a process of its own, which writes MLflow. Only flush, finish and close wait for it.

    Leaving its context lets the process end when it has written. ``problem``: one sentence if MLflow could not be
    written; empty if all is well so far.
    """

    def __init__(self, results: Path, plans: Sequence[Plan]) -> None:
        self._results, self._plans = results, plans
        self._log = results / ".mlflow" / "writer.log"
        self._process: subprocess.Popen[str] | None = None
        self._outbox: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._answered = threading.Condition()
        self._asked = self._flushed = 0
        self._ended = False
        self.problem = ""

    def __enter__(self) -> Follower:
        return self

    def __exit__(self, *raised: object) -> None:
        """Nothing more comes. The process writes what has finished, and ends; nobody waits for it."""
        self._outbox.put(None)

    def start(self) -> None:
        """Start the process; it begins with what earlier runs left unwritten."""
        try:
            self._log.parent.mkdir(parents=True, exist_ok=True)
            with self._log.open("w") as log:
                self._process = subprocess.Popen(
                    program("moebench.mlflow_store.follow"),
                    cwd=self._log.parent,
                    env={**surroundings(), "MLFLOW_TRACKING_URI": tracking_uri(self._results)},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    encoding="utf-8",
                    start_new_session=True,  # Ctrl-C ends the suite, and this process once it has written
                )
        except OSError as error:
            self.problem, self._ended = str(could_not_write(error)), True
            return
        plans = [plan.to_json() for plan in self._plans]
        self._outbox.put({"results": str(self._results.resolve()), "plans": plans})
        for target in (self._send, self._listen):
            threading.Thread(target=target, args=(self._process,), daemon=True).start()

    @property
    def pid(self) -> int:
        """The process id; 0 if it was not started."""
        return self._process.pid if self._process else 0

    def record(self, record: Record) -> None:
        """A run has finished and its record is on disk."""
        self._outbox.put({"identity": record.identity})

    def flush(self, timeout: float = SETTLE_SECONDS) -> bool:
        """Wait until all that was handed over is written; False if that takes longer or cannot be."""
        if self._process is None:
            return False
        self._asked += 1
        self._outbox.put({"flush": self._asked})
        with self._answered:
            self._answered.wait_for(lambda: self._ended or self._flushed >= self._asked, timeout)
            return self._flushed >= self._asked

    def finish(self, plans: Sequence[Plan], report: Path | None) -> None:
        """Write the boards, the report and whatever else is missing, and wait for it.

        A process is started only if none runs and something is missing.
        """
        self.close(FINISH_SECONDS, report)
        if not self.problem and any(needs_sync(plan, Store(self._results), report) for plan in plans):
            again = Follower(self._results, plans)
            again.start()
            again.close(FINISH_SECONDS, report)
            self.problem = again.problem

    def close(self, timeout: float, report: Path | None = None) -> None:
        """End, and wait so many seconds; what is not written by then is left to ``moebench sync``."""
        if report is not None:
            self._outbox.put({"report": str(report.resolve())})
        self._outbox.put(None)
        if self._process is None:
            return
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.problem = str(could_not_write(f"it took longer than {timeout:g} seconds"))
            _stop(self._process)
        with self._answered:
            self._answered.wait_for(lambda: self._ended, STOP_SECONDS)

    def _send(self, process: subprocess.Popen[str]) -> None:
        """The body of a thread, so that a full pipe keeps nobody waiting."""
        assert process.stdin is not None
        with contextlib.suppress(OSError), process.stdin as stream:  # a broken pipe: _listen reports why
            while (line := self._outbox.get()) is not None:
                stream.write(json.dumps(line) + "\n")
                stream.flush()

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as stream:
            for text in stream:
                self._hear(text)
        code = process.wait()
        with self._answered:
            self._ended = True
            if code and not self.problem:
                self.problem = str(could_not_write(f"its process ended with status {code}; see '{self._log}'"))
            self._answered.notify_all()

    def _hear(self, text: str) -> None:
        with contextlib.suppress(ValueError), self._answered:  # a line that was cut short
            line = json.loads(text)
            self.problem = line.get("problem", self.problem)
            self._flushed = max(self._flushed, line.get("flush", 0))
            self._answered.notify_all()


def _stop(process: subprocess.Popen[str]) -> None:
    """End a process, if need be by force."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
