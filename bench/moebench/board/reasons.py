"""Why a row has no rank, as exactly one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from moebench.board.evidence import Evidence, Run, Study
from moebench.board.rules import AXIS_WORDS, BUDGET_TOLERANCE

SHOWN = 4
"""Runs that are named before the rest is counted."""


def unranked(evidence: Evidence, axis: str) -> str:
    """The reason why the row is not ranked; empty for a row that is."""
    return _sentence(_missing(evidence) or off_budget(evidence, axis) or _reference(evidence))


def missing_on(study: Study) -> str:
    """The reason why one task has no score; empty if it has one."""
    if study.group is None:
        return ""
    if study.group.problem:
        return _sentence(study.group.problem)
    if all(run.record is None for run in study.runs):
        return "not run yet."
    return _sentence(_open_runs([(run.label, run) for run in study.open_runs], len(study.runs)))


def _missing(evidence: Evidence) -> str:
    """What keeps the row from having a score on every task."""
    if evidence.row.problem:
        return evidence.row.problem
    several = len(evidence.studies) > 1
    for study in evidence.studies:
        where = f"{study.info.name}: " if several else ""
        if study.group is None:
            return f"no run is planned on task '{study.info.name}'"
        if study.group.problem:
            return where + study.group.problem
    runs = [run for study in evidence.studies for run in study.runs]
    if all(run.record is None for run in runs):
        return "not run yet"
    named = [
        (f"{study.info.name} {run.label}" if several else run.label, run)
        for study in evidence.studies
        for run in study.open_runs
    ]
    return _open_runs(named, len(runs))


def _open_runs(named: Sequence[tuple[str, Run]], planned: int) -> str:
    """Which runs have no result: the first failed one with its reason, other failed ones, those not run."""
    if not named:
        return ""
    failed = [(name, run) for name, run in named if run.record is not None]
    waiting = [name for name, run in named if run.record is None]
    parts = [f"{name}: {run.status}: {run.problem.rstrip('.')}" for name, run in failed[:1]]
    parts += [f"{name}: {run.status}" for name, run in failed[1:SHOWN]]
    if len(failed) > SHOWN:
        parts.append(f"{len(failed) - SHOWN} more failed")
    if waiting:
        more = f" and {len(waiting) - SHOWN} more" if len(waiting) > SHOWN else ""
        parts.append(f"not run yet: {', '.join(waiting[:SHOWN])}{more}")
    return f"incomplete, {len(named)} of {planned} runs have no result: {'; '.join(parts)}"


def off_budget(evidence: Evidence, axis: str) -> str:
    """What keeps a complete row from being one of this budget; empty if nothing does."""
    errors = [(budget_error(study), study) for study in evidence.studies]
    for error, study in errors:
        if error is None:
            return "its records do not say how large its layers are"
        if abs(error) > BUDGET_TOLERANCE:
            amount = study.group.amount if study.group else 0
            side = "over" if error > 0 else "under"
            return (
                f"its expert layers are {abs(error):.1%} {side} the budget of {amount:,} {AXIS_WORDS[axis]}; "
                f"a row is ranked within {BUDGET_TOLERANCE:.0%}"
            )
    return ""


def first_reason(by_task: Mapping[str, str]) -> str:
    """The first task's reason with its name, bare where all tasks have the same; empty if none has one."""
    if len(set(by_task.values())) == 1:
        return next(iter(by_task.values()))
    return next((f"{task}: {reason}" for task, reason in by_task.items() if reason), "")


def budget_error(study: Study) -> float | None:
    """The largest signed share by which a final run misses the budget; None if a record does not say."""
    errors = [record.counts.get("budget_error") for record in study.final_records]
    known = [float(error) for error in errors if error is not None]
    return max(known, key=abs) if known and len(known) == len(errors) else None


def _reference(evidence: Evidence) -> str:
    return f"reference row: {evidence.row.note}" if evidence.row.reference else ""


def _sentence(text: str) -> str:
    """On one line, with one full stop."""
    words = " ".join(text.split()).rstrip(".")
    return f"{words}." if words else ""
