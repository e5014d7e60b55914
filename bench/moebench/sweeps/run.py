"""Run what is missing of a sweep: training and what is derived from it, side by side; then what needs quiet, alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from moebench.execution.executors import Executor
from moebench.execution.job import Job
from moebench.execution.progress import Progress
from moebench.execution.run_plan import Records
from moebench.execution.schedule import drain
from moebench.execution.stopping import Stop
from moebench.planning.plan import Work
from moebench.runs import Store, is_settled
from moebench.sweeps.plan import SweepPlan, is_ready

Unfinished = list[tuple[str, str, str]]
"""(run, status, reason)."""


@dataclass(frozen=True)
class SweepRunner:
    """Where and how sweeps run; nothing here changes a result."""

    results: Path
    executor: Executor
    checkpoint_seconds: float
    progress: Progress
    stop: Stop

    def run(self, plan: SweepPlan, workers: int) -> Unfinished:
        """Run what is missing; returns what is not done in the end."""
        lookup = Records(Store(self.results))
        self.progress.start(len(plan.works), done(plan, lookup), workers)
        try:
            self._drain(plan, lambda: plan.ready(lookup), lookup)
            if not self.stop:
                self._drain(plan, lambda: (w for w in plan.alone if is_ready(w, lookup)), lookup, alone=True)
        finally:
            self.progress.stop()
        return unfinished(plan, lookup)

    def _drain(
        self, plan: SweepPlan, ready: Callable[[], Iterable[Work]], lookup: Records, *, alone: bool = False
    ) -> None:
        drained = drain(
            ready,
            lambda work: self._job(plan, work, alone),
            lookup,
            self.executor,
            lookup.store,
            self.progress,
            self.stop,
            at_most=1 if alone else None,
        )
        for work, record in drained:
            self.progress.finished(work.label, record)

    def _job(self, plan: SweepPlan, work: Work, alone: bool) -> Job:
        return Job(
            cell=work.cell,
            row=work.row,
            spec=work.spec,
            label=work.label,
            suite=plan.sweep.name,
            results=self.results,
            data=plan.data,
            device=plan.device["torch"],
            backend=plan.backend,
            save_weights=True,
            # Nothing is ranked; an arm with a budget was held to its rules when it was planned.
            ranked=False,
            checkpoint_seconds=self.checkpoint_seconds,
            alone=alone,
        )


def done(plan: SweepPlan, lookup: Records) -> int:
    """How many of its runs are settled."""
    return sum(is_settled(lookup(work.cell.identity)) for work in plan.works)


def unfinished(plan: SweepPlan, lookup: Records) -> Unfinished:
    """What is not done, and why."""
    found: Unfinished = []
    for work in plan.works:
        record = lookup(work.cell.identity)
        if record is None:
            found.append((work.label, "skipped", "the run that it is derived from is not done."))
        elif not record.settled:
            found.append((work.label, record.status, record.reason))
    return found
