"""The plans of a sweep, or of every part of a series, as a person asked for them."""

from __future__ import annotations

from moebench.errors import UsageError
from moebench.planning.request import Request
from moebench.sweeps.load import load_parts
from moebench.sweeps.plan import SweepPlan, plan_sweep


def plan_sweeps(request: Request, *, full: bool) -> tuple[SweepPlan, ...]:
    """The plan of every part."""
    _check(request)
    _, sweeps = load_parts(request.suite)
    data = request.data.resolve() if request.data else None
    return tuple(
        plan_sweep(
            sweep,
            full=full,
            seeds=request.seeds,
            device=request.device,
            backend=request.backend,
            data=data,
            place=request.place,
        )
        for sweep in sweeps
    )


def _check(request: Request) -> None:
    """:class:`UsageError` for what only a suite that ranks can be asked."""
    asked = {"--variant": request.variants, "--trials": request.trials, "--micro-batch": request.micro_batch}
    wrong = next((option for option, value in asked.items() if value), None)
    if wrong is not None:
        raise UsageError(f"suite '{request.suite}' sweeps fixed settings and tunes nothing; leave {wrong} out.")
