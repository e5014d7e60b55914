"""Suites of many runs, and how fast they are worked through."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tiny import write_plugin

SUITE = """
title = "Many runs"
axis = "total"
budgets = [{budget}]
seeds = 1
variants = ["{row}"]

[[task]]
name = "digits"

[host]
name = "vit"
dim = {dim}
depth = {depth}
heads = 2
patch = {patch}

[training]
steps = {steps}
batch = 64

[tuning]
trials = {trials}
lr = {{ low = 1e-3, high = 1e-2, default = 3e-3 }}
weight_decay = {{ low = 1e-3, high = 0.3, default = 0.05 }}

[latency]
batch = 8
rounds = 6
repeats = 1
"""

SPIN = "spin({seconds})"

SPINS = '''

def spin(seconds):
    """Until the process has worked for so long, what it has done already included."""
    while time.process_time() < seconds:
        sum(range(1000))
'''


def write_real(folder: Path, *, trials: int, steps: int) -> str:
    """Trainings as `quick` has them."""
    path = folder / "real.toml"
    path.write_text(SUITE.format(row="dense", budget=264_320, dim=64, depth=2, patch=2, steps=steps, trials=trials))
    return str(path)


def write_spinning(folder: Path, *, runs: int, seconds: float) -> str:
    """A suite of so many runs of which each keeps its processor busy for little more than so long."""
    spec = write_plugin(folder, "spinning", in_training=SPIN.format(seconds=seconds), does="takes its time")
    plugin = folder / "spinning.py"
    plugin.write_text(plugin.read_text() + SPINS)
    path = folder / "spinning.toml"
    path.write_text(SUITE.format(row=spec, budget=20_000, dim=16, depth=1, patch=4, steps=2, trials=runs - 1))
    return str(path)


@dataclass(frozen=True)
class Ran:
    """seconds: of the whole command. ends: when each trial ended, in order. work: the runs' own seconds, together."""

    seconds: float
    ends: Sequence[float]
    work: float

    def runs_an_hour(self, workers: int) -> float:
        """While so many worked: from the first end to the last."""
        return 3600 * (len(self.ends) - workers) / (self.ends[-1] - self.ends[0])


def run(suite: str, results: Path, *options: str, beside: int = 1) -> Ran:
    """``moebench run``, the same command so many times at once."""
    command = [sys.executable, "-m", "moebench", "run", suite, "--results", str(results), *options]
    start = time.monotonic()
    programs = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(beside)
    ]
    said = [program.communicate()[0] for program in programs]
    seconds = time.monotonic() - start
    assert [program.returncode for program in programs] == [0] * beside, "\n".join(said)
    found = [(path, json.loads(path.read_text())) for path in (results / "records").glob("*/*.json")]
    trained = [(path, record) for path, record in found if record["cell"]["kind"] in ("trial", "final")]
    assert {record["status"] for _, record in found} == {"done"}
    return Ran(
        seconds,
        sorted(path.stat().st_mtime for path, record in trained if record["cell"]["kind"] == "trial"),
        sum(record["provenance"]["seconds"] for _, record in trained),
    )
