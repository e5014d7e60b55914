"""One row of the board from its evidence."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

from moebench.board import scores
from moebench.board.evidence import Evidence, Study
from moebench.board.latency import Clock
from moebench.board.model import Counts, Entry, Measure, TaskResult
from moebench.board.reasons import budget_error, missing_on
from moebench.board.tuning import tuning
from moebench.planning.plan import Plan
from moebench.planning.rows import BASELINE

COUNTED = ("total_params", "active_params", "model_params", "flops_per_input")


def make_entry(
    plan: Plan,
    budget: int,
    evidence: Evidence,
    clock: Clock,
    *,
    dense: Evidence | None,
    rank: tuple[int, int] | None,
    reason: str,
) -> Entry:
    """The row with everything but its place on the Pareto front. ``dense`` is None where it is not ranked."""
    row, studies = evidence.row, evidence.studies
    special, special_reason = scores.specialization(studies)
    timing, timing_reason = clock.read(row.name)
    versus, versus_reason = _vs_dense(evidence, dense)
    results = [_task_result(plan, evidence, study, clock) for study in studies]
    return Entry(
        variant=row.name,
        implementation=row.variant,
        reference=row.reference,
        note=row.note,
        budget=next((study.group.amount for study in studies if study.group), budget),
        rank=rank,
        reason=reason,
        flags=_flags(plan, evidence, results, clock),
        seeds=min(_settled(study.finals) for study in studies),
        trials=min(_settled(study.trials) for study in studies),
        counts=_mean_counts(studies),
        tasks=tuple(results),
        representation=scores.representation(evidence),
        representation_reason="" if evidence.complete else reason,
        vs_dense=versus,
        vs_dense_reason=versus_reason,
        specialization=special,
        specialization_reason=special_reason,
        latency=timing,
        latency_reason=timing_reason,
        latency_batch1=clock.read(row.name, "forward_batch1_ms")[0],
        latency_layers=clock.read(row.name, "layers_ms")[0],
        train_step=clock.read(row.name, "train_step_ms")[0],
        train_inputs_per_second=scores.mean_over(studies, _inputs_per_second),
        train_peak_memory_mib=_largest(studies, _train_memory),
        forward_peak_memory_mib=clock.peak_memory_mib(row.name),
    )


def _task_result(plan: Plan, evidence: Evidence, study: Study, clock: Clock) -> TaskResult:
    name = study.info.name
    special, special_reason = scores.specialization([study])
    timing, timing_reason = clock.only(name).read(evidence.row.name)
    return TaskResult(
        name=name,
        unit=study.info.unit,
        higher_is_better=study.info.higher_is_better,
        status=_status(evidence, study),
        reason=missing_on(study) or evidence.row.problem,
        score=scores.on_task(study),
        seeds=study.scores if study.complete else (),
        specialization=special,
        specialization_reason=special_reason,
        scores=scores.beside(study),
        tuning=tuning(study, plan.suite.tuning.sampler),
        counts=_counts(study),
        latency=timing,
        latency_reason=timing_reason,
        train_inputs_per_second=_inputs_per_second(study),
        peak_memory_mib=_train_memory(study),
        records=tuple(record.identity for record in study.final_records),
    )


def _vs_dense(evidence: Evidence, dense: Evidence | None) -> tuple[Measure | None, str]:
    if not evidence.complete:
        return None, "the row has no result on every seed and task yet"
    if dense is None:
        return None, f"'{BASELINE}' has no ranked result to compare with"
    return scores.difference(evidence, dense), ""


def _status(evidence: Evidence, study: Study) -> str:
    """One status for a task: that of its first failure, else not_run, else diverged, else done."""
    if evidence.row.problem or study.group is None:
        return "not_installed"
    if study.group.problem:
        return "skipped"
    if not study.complete:
        failed = [run.status for run in study.open_runs if run.record is not None]
        return failed[0] if failed else "not_run"
    return "diverged" if any(record.status == "diverged" for record in study.final_records) else "done"


def _flags(plan: Plan, evidence: Evidence, results: list[TaskResult], clock: Clock) -> tuple[str, ...]:
    """What a reader should see before trusting the row's numbers."""
    several = len(results) > 1
    flags = []
    for study, result in zip(evidence.studies, results, strict=True):
        where = f"{result.name}: " if several else ""
        for index, record in enumerate(study.final_records):
            if record.status == "diverged":
                flags.append(f"{where}seed {index} diverged and counts as the floor {study.info.floor:g}")
        if result.tuning:
            flags += [where + edge for edge in result.tuning.edges]
        devices = {record.provenance.get("device") for record in study.final_records}
        if elsewhere := sorted(map(str, devices - {plan.device["name"], None})):
            flags.append(f"{where}trained on {', '.join(elsewhere)}")
    if clock.untrained(evidence.row.name):
        flags.append("timed with untrained weights, for none were kept")
    return tuple(flags)


def _settled(runs: tuple[Any, ...]) -> int:
    return sum(not run.problem for run in runs)


def _counts(study: Study) -> Counts | None:
    """As the harness counted the first final run; the final runs differ in their seed alone."""
    error = budget_error(study)
    if error is None:
        return None
    counts = study.final_records[0].counts
    if any(counts.get(name) is None for name in COUNTED):
        return None
    return Counts(**{name: int(counts[name]) for name in COUNTED}, budget_error=error)


def _mean_counts(studies: tuple[Study, ...]) -> Counts | None:
    found = [counts for study in studies if (counts := _counts(study))]
    if len(found) < len(studies):
        return None
    means = {name: round(sum(getattr(counts, name) for counts in found) / len(found)) for name in COUNTED}
    return Counts(**means, budget_error=max((counts.budget_error for counts in found), key=abs))


def _inputs_per_second(study: Study) -> float | None:
    """Median over the final runs."""
    found = [record.details.get("inputs_per_second") for record in study.final_records]
    known = [float(value) for value in found if value is not None]
    return median(known) if known else None


def _train_memory(study: Study) -> float | None:
    """The largest over the final runs."""
    found = [record.details.get("peak_memory_mib") for record in study.final_records]
    known = [float(value) for value in found if value is not None]
    return max(known) if known else None


def _largest(studies: tuple[Study, ...], read: Callable[[Study], float | None]) -> float | None:
    known = [value for value in map(read, studies) if value is not None]
    return max(known) if len(known) == len(studies) else None
