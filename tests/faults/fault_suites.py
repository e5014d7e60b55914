"""A suite of a few short runs, programs that run it, and what they leave."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tiny import write_suite

STEPS = 60


@dataclass(frozen=True)
class Undisturbed:
    """What a run without faults gives."""

    scores: dict[str, dict[str, float | None]]
    board: dict[str, object]


def start(suite: str, results: Path, *options: str, mlflow: bool = False, **environment: str) -> subprocess.Popen[str]:
    """``moebench run`` in a session of its own, as a terminal would start it."""
    command = [sys.executable, "-m", "moebench", "run", suite, "--results", str(results), "--workers", "2"]
    return subprocess.Popen(
        [*command, *([] if mlflow else ["--no-mlflow"]), "--checkpoint-every", "0.05", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | environment,
    )


def end(process: subprocess.Popen[str], seconds: float = 300) -> tuple[int, str, str]:
    """(exit status, standard output, standard error) of a program that ends by itself."""
    try:
        out, err = process.communicate(timeout=seconds)
    finally:
        kill_all(process)
    return process.returncode, out, err


def run(suite: str, results: Path, *options: str, **how: object) -> tuple[int, str, str]:
    """Run it to its end."""
    return end(start(suite, results, *options, **how))


def finished(folder: Path) -> Undisturbed:
    """Run the suite where nothing disturbs it."""
    suite = write_suite(folder, steps=STEPS)
    code, _, err = run(suite, folder / "results")
    assert code == 0, err
    return Undisturbed(scores(folder / "results"), board(suite, folder / "results"))


def scores(results: Path) -> dict[str, dict[str, float | None]]:
    """Identity -> scores of everything but latency, of runs that are done."""
    return {i: r["scores"] for i, r in records(results).items() if r["cell"]["kind"] != "latency"}


def records(results: Path) -> dict[str, dict]:
    """Identity -> record, of runs that are done."""
    found = {path.stem: json.loads(path.read_text()) for path in (results / "records").glob("*/*.json")}
    return {identity: record for identity, record in found.items() if record["status"] == "done"}


def board(suite: str, results: Path) -> dict[str, object]:
    """The board without what was timed."""
    command = [sys.executable, "-m", "moebench", "leaderboard", suite, "--results", str(results), "--format", "json"]
    made = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return _untimed(made)


TIMED = ("latency", "train", "forward_", "resident_", "pareto", "tuning", "provenance")
"""How the names of what is timed or of memory, or says when and how long, begin."""


def _untimed(value):
    if isinstance(value, dict):
        return {name: _untimed(each) for name, each in value.items() if not name.startswith(TIMED)}
    return [_untimed(each) for each in value] if isinstance(value, list) else value


def kill_all(process: subprocess.Popen[str]) -> None:
    """Everything that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def workers(process: subprocess.Popen[str]) -> list[int]:
    """Its worker processes: the children of its fork server that have taken its name."""
    return [child for server in children(process.pid) for child in children(server) if _forked(child, server)]


def _forked(child: int, server: int) -> bool:
    """Not a program that the server's imports started."""
    try:
        one, other = (Path(f"/proc/{pid}/cmdline").read_bytes() for pid in (child, server))
    except OSError:
        return False
    return one == other and b"forkserver" in one


def claimed(results: Path) -> list[Path]:
    """The runs that are under way."""
    return list((results / "claims").glob("*.claim"))


def children(pid: int) -> list[int]:
    """Of a process that may have ended."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(each) for each in text.split()]


def until(holds, seconds: float = 120):
    """Wait for something true."""
    last = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < last, "it did not come to this"
        time.sleep(0.05)
    return found
