"""A suite that runs for real in seconds, and plug-ins that behave badly in a run."""

from __future__ import annotations

from pathlib import Path

from moebench.experiment import ExperimentResult, run_experiment
from moebench.runner.options import RunLimits, RunOptions
from moebench.runner.progress import Progress
from moebench.suites.request import ask

SUITE = """
title = "A few steps"
axis = "total"
budgets = [20_000]
seeds = 2
variants = ["dense", "soft_moe"]

[[task]]
name = "{task}"

[host]
name = "vit"
dim = 16
depth = 1
heads = 2
patch = {patch}

[training]
steps = {steps}
batch = 32

[tuning]
trials = 2
lr = {{ low = 1e-3, high = 1e-2, default = 3e-3 }}
weight_decay = {{ low = 1e-3, high = 0.3, default = 0.05 }}

[latency]
batch = 8
rounds = 6
repeats = 1

[space.soft_moe]
experts = [8]
"""

PLUGIN = '''
from moebench.contract import Layer, Routing, Variant
from torch import nn
import os, time


class {name}(Variant):
    """A plain layer that {does}."""

    name = "{row}"

    def build(self, shape, size):
        return Plain(shape, size)


class Plain(Layer):
    def __init__(self, shape, hidden):
        super().__init__()
        self.a, self.b = nn.Linear(shape.dim, hidden), nn.Linear(hidden, shape.out_dim)

    def route(self, x_BTD, context):
        return Routing()

    def compute(self, x_BTD, routing, keep_BE=None):
        if self.training and len(x_BTD) > 4:  # not in the trial step of planning
            {in_training}
        return self.b(self.a(x_BTD).relu())
'''


def write_suite(folder: Path, *, steps: int = 12, task: str = "digits", patch: int = 4, name: str = "tiny") -> str:
    """The path of the suite's file."""
    path = folder / f"{name}.toml"
    path.write_text(SUITE.format(steps=steps, task=task, patch=patch))
    return str(path)


def write_plugin(folder: Path, row: str, *, in_training: str = "pass", does: str = "works") -> str:
    """``path.py:Class`` of a plug-in that runs ``in_training`` in every training step."""
    path = folder / f"{row}.py"
    path.write_text(PLUGIN.format(name="Mine", row=row, does=does, in_training=in_training))
    return f"{path}:Mine"


def run_tiny(
    suite: str,
    results: Path,
    *,
    workers: int = 2,
    mlflow: bool = False,
    timeout: float | None = None,
    ranks: int = 1,
    silence: float = 600,
    checkpoint_seconds: float = 60,
    save_weights: bool = True,
    check: bool = False,
    **request: object,
) -> ExperimentResult:
    """Run a suite without MLflow."""
    how = RunOptions(
        results=results,
        workers=workers,
        mlflow=mlflow,
        limits=RunLimits(timeout, silence),
        checkpoint_seconds=checkpoint_seconds,
        ranks=ranks,
        save_weights=save_weights,
        check=check,
    )
    return run_experiment(ask(suite, **request), how, Progress())  # type: ignore[arg-type]
