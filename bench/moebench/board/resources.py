"""What a row needs: parameters, FLOPs, memory and time of training, as its records have them."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

from moebench.board.evidence import Study
from moebench.board.model import Counts
from moebench.board.reasons import budget_error

COUNTED = ("total_params", "active_params", "model_params", "flops_per_input")


def counts(study: Study) -> Counts | None:
    """As the harness counted the first final run; the final runs differ in their seed alone."""
    error = budget_error(study)
    if error is None:
        return None
    recorded = study.final_records[0].counts
    if any(recorded.get(name) is None for name in COUNTED):
        return None
    return Counts(**{name: int(recorded[name]) for name in COUNTED}, budget_error=error)


def mean_counts(studies: tuple[Study, ...]) -> Counts | None:
    """Means over the tasks; None until every task has counts."""
    found = [one for study in studies if (one := counts(study))]
    if len(found) < len(studies):
        return None
    means = {name: round(sum(getattr(one, name) for one in found) / len(found)) for name in COUNTED}
    return Counts(**means, budget_error=max((one.budget_error for one in found), key=abs))


def inputs_per_second(study: Study) -> float | None:
    """Median over the final runs."""
    found = [record.details.get("inputs_per_second") for record in study.final_records]
    known = [float(value) for value in found if value is not None]
    return median(known) if known else None


def train_memory(study: Study) -> float | None:
    """The largest over the final runs."""
    found = [record.details.get("peak_memory_mib") for record in study.final_records]
    known = [float(value) for value in found if value is not None]
    return max(known) if known else None


def largest(studies: tuple[Study, ...], read: Callable[[Study], float | None]) -> float | None:
    """The largest number over the tasks; None if a task has none."""
    known = [value for value in map(read, studies) if value is not None]
    return max(known) if len(known) == len(studies) else None
