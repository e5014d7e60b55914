"""Run what is missing of a sweep: training and what is derived from it, side by side; then what needs quiet, alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from moebench.execution.job import Job
from moebench.execution.local import LocalExecutor
from moebench.execution.progress import Progress
from moebench.execution.run_plan import Records
from moebench.execution.schedule import drain, settled
from moebench.planning.plan import Work
from moebench.runs import Store
from moebench.sweeps.plan import SweepPlan, is_ready

Unfinished = list[tuple[str, str, str]]
"""(run, status, reason)."""


@dataclass(frozen=True)
class SweepRunner:
    """Where and how sweeps run; nothing here changes a result."""

    results: Path
    workers: int
    timeout: float | None
    progress: Progress

    def run(self, plan: SweepPlan) -> Unfinished:
        """Run what is missing; returns what is not done in the end."""
        lookup = Records(Store(self.results))
        missing = sum(not settled(lookup(work.cell.identity)) for work in plan.works)
        self.progress.start(len(plan.works), len(plan.works) - missing, self.workers)
        try:
            self._drain(plan, lambda: plan.ready(lookup), lookup, self.workers)
            self._drain(plan, lambda: (w for w in plan.alone if is_ready(w, lookup)), lookup, 1)
        finally:
            self.progress.stop()
        return unfinished(plan, lookup)

    def _drain(self, plan: SweepPlan, ready: Callable[[], Iterable[Work]], lookup: Records, workers: int) -> None:
        executor = LocalExecutor(self.results, workers, self.timeout)
        try:
            for work, record in drain(ready, lambda work: self._job(plan, work), lookup, executor, self.progress):
                self.progress.finished(work.label, record)
        finally:
            executor.close()

    def _job(self, plan: SweepPlan, work: Work) -> Job:
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
        )


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
