"""Run a sweep, or a series of them, from end to end: plan, train, measure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from moebench.errors import UsageError
from moebench.execution.local import local_workers
from moebench.execution.processes import warm_up
from moebench.execution.progress import Progress
from moebench.planning.request import Request
from moebench.runs import Store
from moebench.session import How
from moebench.sweeps.load import load_parts
from moebench.sweeps.plan import SweepPlan, plan_sweep
from moebench.sweeps.run import SweepRunner, Unfinished

OnPart = Callable[[SweepPlan, int], None]
"""Told of each part's plan and the number of workers, before it runs."""


@dataclass(frozen=True)
class SweepSession:
    """The plans of the parts that ran, in order, and what is not done, by part."""

    plans: tuple[SweepPlan, ...]
    unfinished: Unfinished


def run_sweeps(request: Request, how: How, progress: Progress, *, full: bool, on_part: OnPart) -> SweepSession:
    """Run what is missing of a sweep or of every part of a series.

    A part whose data set is missing is planned, and so found out, before any part runs.
    """
    if not how.save_weights:
        raise UsageError(f"suite '{request.suite}' measures the trained models; leave --no-weights out.")
    Store(how.results).prepare()
    warm_up()
    plans = plan_sweeps(request, full=full)
    unfinished: Unfinished = []
    for plan in plans:
        workers = local_workers(how.workers, plan.sweep.training.threads, plan.device["torch"])
        on_part(plan, workers)
        unfinished += SweepRunner(how.results, workers, how.timeout, progress).run(plan)
    return SweepSession(plans, unfinished)


def plan_sweeps(request: Request, *, full: bool) -> tuple[SweepPlan, ...]:
    """The plan of every part."""
    _check(request)
    _, sweeps = load_parts(request.suite)
    data = request.data.resolve() if request.data else None
    return tuple(
        plan_sweep(sweep, full=full, seeds=request.seeds, device=request.device, backend=request.backend, data=data)
        for sweep in sweeps
    )


def _check(request: Request) -> None:
    """:class:`UsageError` for what only a suite that ranks can be asked."""
    asked = {"--variant": request.variants, "--trials": request.trials, "--micro-batch": request.micro_batch}
    wrong = next((option for option, value in asked.items() if value), None)
    if wrong is not None:
        raise UsageError(f"suite '{request.suite}' sweeps fixed settings and tunes nothing; leave {wrong} out.")
