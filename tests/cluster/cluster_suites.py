"""Small suites for clusters, and what two runs of one have in common."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from moebench.experiment import ExperimentResult, run_experiment
from moebench.plans.make import make_plan
from moebench.records import Store
from moebench.runner.executors import Executor, open_executor
from moebench.runner.executors.base import Ended
from moebench.runner.job import Job
from moebench.runner.options import RunOptions
from moebench.runner.progress import Progress
from moebench.suites.request import ask
from tiny import write_plugin, write_suite


@dataclass(frozen=True)
class Reference:
    """A suite and what the local executor made of it."""

    suite: str
    variants: tuple[str, ...]
    results: Path
    unfinished: tuple[tuple[str, str, str], ...]


def write_tiny(folder: Path) -> tuple[str, tuple[str, ...]]:
    """A suite, and its rows: one that works, one whose process dies in training."""
    return write_suite(folder), ("dense", write_plugin(folder, "crash", in_training="os._exit(3)"))


def run_on(executor: str, suite: str, results: Path, *, variants: tuple[str, ...], **options: str) -> ExperimentResult:
    """Run a suite, two runs at a time; unchecked, for checks find a row that dies in training before it runs."""
    how = RunOptions(
        results=results,
        executor=executor,
        executor_options=options,
        workers=2,
        mlflow=False,
        checkpoint_seconds=3600.0,
        check=False,
    )
    return run_experiment(ask(suite, variants=variants, seeds=1), how, Progress())


def found(results: Path) -> dict[str, Any]:
    """Identity -> what has to be the same wherever a run was: its cell, status, reason, counts and scores.

    Of a latency session its times are its machine's own.
    """
    return {
        record.identity: (
            record.cell,
            record.status,
            record.reason,
            record.counts,
            None if record.cell["kind"] == "latency" else record.scores,
        )
        for record in Store(results).records()
    }


def opened(name: str, results: Path, **options: str) -> Executor:
    """An executor, for jobs of one thread."""
    Store(results).prepare()
    return open_executor(RunOptions(results=results, executor=name, workers=2, executor_options=options))


SLOW = "open(f'{folder}/{{os.getpid()}}.steps', 'a').write('.'); time.sleep(0.2)"
"""A step that takes a fifth of a second, and can be seen."""


def write_slow(folder: Path, *, steps: int) -> tuple[str, str]:
    """A suite, and a row that takes its time; see :func:`under_way`."""
    spec = write_plugin(folder, "slow", in_training=SLOW.format(folder=folder), does="takes its time")
    return write_suite(folder, steps=steps), spec


def slow_jobs(folder: Path, results: Path, *, steps: int) -> list[Job]:
    """The two trials of such a row."""
    suite, spec = write_slow(folder, steps=steps)
    plan = make_plan(ask(suite, variants=(spec,)).requests[0])
    return [
        Job(
            cell=work.cell,
            row=work.row,
            spec=work.spec,
            label=work.label,
            suite="tiny",
            results=results,
            device="cpu",
            checkpoint_seconds=3600.0,
        )
        for work in plan.training(lambda identity: None)
        if work.row == "slow"
    ]


def finish(executor: Executor) -> list[Ended]:
    """What becomes of all that is under way."""
    ended: list[Ended] = []
    while executor.running:
        ended += executor.wait(1.0)
    return ended


def run_alone(jobs: Sequence[Job], results: Path) -> dict[str, Any]:
    """What the local executor makes of jobs."""
    executor = opened("local", results)
    executor.fit("cpu")
    for job in jobs:
        executor.submit(replace(job, results=results))
    finish(executor)
    executor.close()
    return found(results)


def under_way(folder: Path, count: int) -> None:
    """Return once so many runs of the slow row have taken a few steps."""
    wait_until(lambda: len([path for path in folder.glob("*.steps") if path.stat().st_size > 2]) == count)


def forget(folder: Path) -> None:
    """Nothing has taken a step."""
    for path in folder.glob("*.steps"):
        path.unlink()


def wait_until(holds: Callable[[], bool]) -> None:
    """Return once it does; within two minutes."""
    until = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.1)
