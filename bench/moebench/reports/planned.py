"""The plans whose records a report reads."""

from __future__ import annotations

from pathlib import Path

from moebench.errors import DataError
from moebench.reports.evidence import Part
from moebench.sweeps.load import load_parts
from moebench.sweeps.plan import SweepPlan, plan_sweep


def plan_parts(
    name: str, full: bool, seeds: int | None, device: str | None, data: Path | None
) -> list[SweepPlan | Part]:
    """The plan of every part; one whose data set is not here cannot have run here, and is a part without runs.

    :class:`DataError` where that is so of every part.
    """
    found: list[SweepPlan | Part] = []
    problem = None
    for sweep in load_parts(name)[1]:
        try:
            plan = plan_sweep(sweep, full=full, seeds=seeds, device=device, data=data.resolve() if data else None)
            found.append(plan)
        except DataError as error:
            problem = error
            found.append(Part(sweep, full, 0, (), problem=str(error)))
    if problem and all(isinstance(each, Part) for each in found):
        raise problem
    return found
