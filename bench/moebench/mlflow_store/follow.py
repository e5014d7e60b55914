"""``python -m moebench.mlflow_store.follow``: the process that writes MLflow while a suite runs.

It is started by :class:`moebench.mlflow_store.follower.Writer` and talks to it in lines of JSON. Standard input:
first {"results", "plans"}; then, whenever there is something new, {"identity"} of a finished run, {"report"}
with a page, or {"flush": n}; its end means that the suite has ended. Standard output: {"flush": n} when
all that came before is written, {"problem": sentence} after each attempt, empty when nothing is wrong.

What a line names does not matter: each time, whatever MLflow lacks of the records there are is written.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from moebench.errors import MoebenchError, ResultsError
from moebench.mlflow_store.database import LEASE, could_not_write, open_client
from moebench.mlflow_store.ledger import Ledger
from moebench.mlflow_store.write import open_experiment, wanted, write_missing
from moebench.plans.generations import grown
from moebench.plans.plan import Plan
from moebench.records import Store
from moebench.records.leases import Leases
from moebench.runner.run_plan import Records

if TYPE_CHECKING:
    from moebench.mlflow_store.experiment import Experiment

NICENESS = 5
"""Beside one training worker a core it gets about a quarter of one."""
TURN_SECONDS = 1.0
"""Between two tries to become the one who writes."""

Line = dict[str, Any]
Say = Callable[[Line], None]


class Mirror:
    """Brings the experiments of some plans up to date with their records, again and again."""

    def __init__(self, results: Path, plans: Iterable[Plan]) -> None:
        self._store = Store(results)
        self._lookup = Records(self._store)
        self._ledger = Ledger(results)
        self._plans = list(plans)
        self._report: Path | None = None
        self._client = open_client(results)
        self._experiments: dict[str, Experiment] = {}

    def take(self, line: Line) -> None:
        """Note what a line says."""
        if "report" in line:
            self._report = Path(line["report"])

    def write(self, *, live: bool) -> None:
        """Write what is lacking; :class:`ResultsError` at the end if some could not be."""
        problems = []
        for index, plan in enumerate(self._plans):
            self._plans[index] = grown(plan, self._lookup)
            try:
                self._write(self._plans[index], live=live)
            except ResultsError as error:
                problems.append(error)
        if problems:
            raise problems[0]

    def _write(self, plan: Plan, *, live: bool) -> None:
        runs = wanted(plan, self._store, self._lookup, self._report, live=live)
        if not runs:
            return
        experiment = self._experiments.get(plan.suite.name)
        if experiment is None:
            experiment = self._experiments[plan.suite.name] = open_experiment(plan, self._store, self._client)
        try:
            write_missing(experiment, runs)
        finally:
            self._ledger.save(experiment.name, experiment.known)


def main() -> int:
    """Follow a suite, out of the way of its training and of what libraries print."""
    os.nice(NICENESS)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # a suite waits for its end, not for a server
    return run(sys.stdin, _answers())


def run(stream: IO[str], say: Say) -> int:
    """Follow the suite that a stream tells of, to its end; 1 if something could not be written."""
    opening = json.loads(stream.readline())
    results, lines = Path(opening["results"]), _lines(stream)
    try:
        with _turn(results, lines, say):
            return follow(Mirror(results, map(Plan.from_json, opening["plans"])), lines, say)
    except MoebenchError as error:
        say({"problem": str(error)})
    except Exception as error:
        say({"problem": could_not_write(error)})
    return 1


@contextmanager
def _turn(results: Path, lines: queue.SimpleQueue[Line | None], say: Say) -> Iterator[None]:
    """Wait for the right to write, and hold it; :class:`ResultsError` where the suite ends first.

    Another process that runs the same suite writes its runs meanwhile, so nobody who waits for them to be written need
    wait here.
    """
    leases, kept = Leases(results), list[Line | None]()
    while True:
        with leases.hold(LEASE, 0.0 if None in kept else TURN_SECONDS) as mine:
            if mine:
                for line in kept:
                    lines.put(line)
                yield
                return
        if None in kept:
            raise ResultsError(could_not_write(f"another process was at it for '{results}' until this suite ended"))
        while not lines.empty():
            line = lines.get()
            kept.append(line)
            if line is not None and "flush" in line:
                say({"flush": line["flush"]})


def follow(mirror: Mirror, lines: queue.SimpleQueue[Line | None], say: Say) -> int:
    """Write after each bunch of lines; the None after the last one ends it."""
    bunch: list[Line | None] = []
    while True:
        ended = None in bunch
        problem = _attempt(mirror, live=not ended)
        say({"problem": problem})
        for line in bunch:
            if line is not None and "flush" in line:
                say({"flush": line["flush"]})
        if ended:
            return 1 if problem else 0
        bunch = _bunch(lines)
        for line in bunch:
            if line is not None:
                mirror.take(line)


def _attempt(mirror: Mirror, *, live: bool) -> str:
    try:
        mirror.write(live=live)
    except MoebenchError as error:
        return str(error)
    except Exception as error:
        return could_not_write(error)
    return ""


def _bunch(lines: queue.SimpleQueue[Line | None]) -> list[Line | None]:
    """The next line, waited for, and all that have come meanwhile."""
    bunch = [lines.get()]
    while not lines.empty():
        bunch.append(lines.get())
    return bunch


def _lines(stream: IO[str]) -> queue.SimpleQueue[Line | None]:
    """The lines of a stream as they come, then None."""
    lines: queue.SimpleQueue[Line | None] = queue.SimpleQueue()

    def read() -> None:
        for text in stream:
            lines.put(json.loads(text))
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    return lines


def _answers() -> Say:
    """Writes lines to standard output, from which everything that libraries print is turned away."""
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(line: Line) -> None:
        print(json.dumps(line), file=stream, flush=True)

    return say


if __name__ == "__main__":
    sys.exit(main())
