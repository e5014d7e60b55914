"""Run a sweep, or a series of them, from end to end: plan, train, measure."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from moebench.errors import MoebenchError, ResultsError, UsageError
from moebench.execution.processes import warm_up
from moebench.execution.progress import Progress
from moebench.execution.run_plan import Records
from moebench.execution.stopping import Stop, listening
from moebench.planning.request import Request
from moebench.runs import Store
from moebench.session.how import How, interrupted
from moebench.sweeps.load import load_parts
from moebench.sweeps.parts import plan_sweeps
from moebench.sweeps.plan import SweepPlan
from moebench.sweeps.run import SweepRunner, Unfinished, done

OnPart = Callable[[SweepPlan, int], None]
"""Told of each part's plan and the number of workers, before it runs."""


@dataclass(frozen=True)
class SweepSession:
    """The plans of the parts that ran, in order, where their report is, what is not done, and sentences about what went
    wrong beside it.
    """

    plans: tuple[SweepPlan, ...]
    report: Path | None
    unfinished: Unfinished
    warnings: tuple[str, ...]


def run_sweeps(request: Request, how: How, progress: Progress, *, full: bool, on_part: OnPart) -> SweepSession:
    """Run what is missing of a sweep or of every part of a series.

    A part whose data set is missing is planned, and so found out, before any part runs.
    """
    if not how.save_weights:
        raise UsageError(f"suite '{request.suite}' measures the trained models; leave --no-weights out.")
    if how.ranks > 1:
        raise UsageError(f"suite '{request.suite}' compares small models, a process each; leave --ranks out.")
    Store(how.results).prepare()
    warm_up()
    _, sweeps = load_parts(request.suite)
    executor = how.opened(max(sweep.training.threads for sweep in sweeps))
    plans = plan_sweeps(dataclasses.replace(request, place=executor.place(request.device)), full=full)
    unfinished: Unfinished = []
    warnings: list[str] = []
    try:
        with listening() as stop:
            for plan in plans:
                workers = executor.fit(plan.device["torch"])
                on_part(plan, workers)
                runner = SweepRunner(how.results, executor, how.checkpoint_seconds, progress, stop)
                unfinished += runner.run(plan, workers)
                if stop:
                    raise _interrupted(request, plans, how.results, stop)
                if how.mlflow and not warnings:
                    warnings += _tracked([plan], how.results, None)
    finally:
        executor.close()
    report = _report(request, plans, how.results, warnings)
    if how.mlflow and not warnings:
        warnings += _tracked(plans, how.results, report)
    return SweepSession(plans, report, unfinished, tuple(warnings))


def _interrupted(request: Request, plans: Sequence[SweepPlan], results: Path, stop: Stop) -> BaseException:
    lookup = Records(Store(results))
    return interrupted(
        sum(done(plan, lookup) for plan in plans), sum(len(plan.works) for plan in plans), request.suite, stop
    )


def _report(request: Request, plans: tuple[SweepPlan, ...], results: Path, warnings: list[str]) -> Path | None:
    """The page of a series or a part that has one; a sentence among the warnings if it cannot be written."""
    from moebench.reports import report_of
    from moebench.reports.write import write_report

    series, sweeps = load_parts(request.suite)
    name = series.name if series else sweeps[0].name
    if report_of(name) is None:
        return None
    try:
        return write_report(name, plans, results)
    except ResultsError as error:
        warnings.append(str(error))
        return None


def _tracked(plans: Sequence[SweepPlan], results: Path, report: Path | None) -> Iterator[str]:
    """Write MLflow; a sentence if that cannot be done, which fails no run."""
    from moebench.tracking.database import could_not_write
    from moebench.tracking.sweep_run import sync_sweep

    for plan in plans:
        try:
            sync_sweep(plan, Store(results), report)
        except MoebenchError as error:
            yield str(error)
            return
        except Exception as error:  # whatever a store, its driver or the network between may raise
            yield could_not_write(error)
            return
