"""``python -m moebench.mlflow_store.follow``: the process that writes MLflow while a suite runs.

:class:`moebench.mlflow_store.follower.Follower` starts it and exchanges lines of JSON with it. Standard input: first
{"results", "plans"}; then {"identity"} of a finished run, {"report"} with a page, or {"flush": n}; its end means that
the suite has ended. Standard output: {"flush": n} when all that came before is written, and {"problem": sentence} after
each attempt, empty when nothing is wrong.

A line of any kind is only the occasion: each time, whatever MLflow lacks of the records there are is written.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from moebench.errors import MoebenchError
from moebench.mlflow_store.database import ANSWER_SECONDS, LEASE, could_not_write, open_client
from moebench.mlflow_store.write import Mirror
from moebench.plans.plan import Plan
from moebench.records import Store
from moebench.records.leases import Leases

NICENESS = 5
"""Beside one training worker a core it gets about a quarter of one."""
TURN_SECONDS = 1.0
"""Between two tries to become the process that writes."""

Line = dict[str, Any]
Lines = queue.SimpleQueue[Line]
Answer = Callable[[Line], None]
END: Line = {"end": True}
"""Comes after the last line of the stream."""


def main() -> int:
    """Follow a suite at a low priority."""
    os.nice(NICENESS)
    return run(sys.stdin, _answers())


def run(stream: IO[str], answer: Answer) -> int:
    """Follow the suite that a stream describes, to its end; 1 if something could not be written."""
    opening = json.loads(stream.readline())
    results, lines = Path(opening["results"]), _lines(stream)
    try:
        with _turn(results, lines, answer):
            mirror = Mirror(Store(results), open_client(results))
            return follow(mirror, [Plan.from_json(plan) for plan in opening["plans"]], lines, answer)
    except Exception as error:
        answer({"problem": _sentence(error)})
    return 1


@contextmanager
def _turn(results: Path, lines: Lines, answer: Answer) -> Iterator[None]:
    """Wait for the right to write, and hold it; raises where the suite ends first.

    Another process that runs the same suite writes its runs meanwhile, so nobody who waits for them to be written need
    wait here.
    """
    leases, kept = Leases(results), list[Line]()
    while True:
        with leases.hold(LEASE, 0.0 if END in kept else TURN_SECONDS) as mine:
            if mine:
                for line in kept:
                    lines.put(line)
                yield
                return
        if END in kept:
            raise could_not_write(f"another process was at it for '{results}' until this suite ended")
        while not lines.empty():
            kept.append(lines.get())
            _answer_flushes(kept[-1:], answer)


def follow(mirror: Mirror, plans: Sequence[Plan], lines: Lines, answer: Answer) -> int:
    """Write after each bunch of lines, until the one with the end."""
    bunch: list[Line] = []
    report: Path | None = None
    problem, silent = "", False
    while True:
        if not (END in bunch and silent):  # the suite's end does not wait a second time for who does not answer
            began = time.monotonic()
            problem = _attempt(mirror, plans, report, live=END not in bunch)
            silent = bool(problem) and time.monotonic() - began >= ANSWER_SECONDS
        answer({"problem": problem})
        _answer_flushes(bunch, answer)
        if END in bunch:
            return 1 if problem else 0
        bunch = [lines.get()]
        while not lines.empty():
            bunch.append(lines.get())
        for line in bunch:
            report = Path(line["report"]) if "report" in line else report


def _attempt(mirror: Mirror, plans: Sequence[Plan], report: Path | None, *, live: bool) -> str:
    """Write what is lacking of every plan; the first problem, if any."""
    problem = ""
    for plan in plans:
        try:
            mirror.write(plan, report, live=live)
        except Exception as error:
            problem = problem or _sentence(error)
    return problem


def _sentence(error: Exception) -> str:
    return str(error if isinstance(error, MoebenchError) else could_not_write(error))


def _answer_flushes(lines: Iterable[Line], answer: Answer) -> None:
    for line in lines:
        if "flush" in line:
            answer({"flush": line["flush"]})


def _lines(stream: IO[str]) -> Lines:
    """The lines of a stream as they come, then END."""
    lines: Lines = queue.SimpleQueue()

    def read() -> None:
        for text in stream:
            lines.put(json.loads(text))
        os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"  # a suite waits for its end, not for a server
        lines.put(END)

    threading.Thread(target=read, daemon=True).start()
    return lines


def _answers() -> Answer:
    """Writes lines to standard output; what libraries print there goes to standard error."""
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(line: Line) -> None:
        print(json.dumps(line), file=stream, flush=True)

    return answer


if __name__ == "__main__":
    sys.exit(main())
