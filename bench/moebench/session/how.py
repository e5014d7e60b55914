"""How a suite or a sweep is run, and what is said where it was stopped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from moebench.execution.executors import Executor, Limits, Setup, open_executor
from moebench.execution.stopping import Interrupted, Stop


@dataclass(frozen=True, kw_only=True)
class How:
    """How a suite is run; nothing here changes a result.

    executor: where runs go; executor_options: what only it knows. workers: runs at a time. limits: of one run.
    checkpoint_seconds: of training between two checkpoints. ranks: processes that train one model together.
    """

    results: Path
    executor: str = "local"
    executor_options: Mapping[str, str] = field(default_factory=dict)
    workers: int | None = None
    limits: Limits = field(default_factory=Limits)
    checkpoint_seconds: float = 60.0
    ranks: int = 1
    save_weights: bool = True
    mlflow: bool = True

    def opened(self, threads: int) -> Executor:
        """The executor, for runs of so many threads a rank."""
        setup = Setup(
            results=self.results.resolve(),
            workers=self.workers,
            threads=threads * self.ranks,
            ranks=self.ranks,
            limits=self.limits,
            options=self.executor_options,
        )
        return open_executor(self.executor, setup)


def interrupted(done: int, total: int, suite: str, stop: Stop) -> Interrupted:
    """What a person is told who stopped a suite."""
    return Interrupted(
        f"stopped: {done} of {total} runs are done, and those under way kept checkpoints; the same command goes on "
        f"from here (`moebench plan {suite}` says what is left).",
        stop.signum,
    )
