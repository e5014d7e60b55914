"""One row of the board from its evidence."""

from __future__ import annotations

from pathlib import Path

from moebench.board import resources, scores
from moebench.board.evidence import Evidence, Run, Study
from moebench.board.flags import flags
from moebench.board.latency import Clock
from moebench.board.model import Entry, Measure, TaskResult
from moebench.board.provenance import provenance
from moebench.board.reasons import missing_on
from moebench.board.tuning import tuning
from moebench.planning.plan import Plan
from moebench.planning.rows import BASELINE
from moebench.plugins.find import is_place


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
        note=row.note or _from_file(row.spec),
        budget=next((study.group.amount for study in studies if study.group), budget),
        rank=rank,
        reason=reason,
        flags=flags(plan, evidence, results, clock),
        seeds=min(_settled(study.finals) for study in studies),
        trials=min(_settled(study.trials) for study in studies),
        counts=resources.mean_counts(studies),
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
        train_inputs_per_second=scores.mean_over(studies, resources.inputs_per_second),
        train_peak_memory_mib=resources.largest(studies, resources.train_memory),
        forward_peak_memory_mib=clock.peak_memory_mib(row.name),
    )


def _from_file(spec: str) -> str:
    """Whose code a row is, where it is not an installed variant's."""
    return f"from the file {Path(spec.rpartition(':')[0]).name}" if is_place(spec) else ""


def _task_result(plan: Plan, evidence: Evidence, study: Study, clock: Clock) -> TaskResult:
    name = study.info.name
    special, special_reason = scores.specialization([study])
    timing, timing_reason = clock.only(name).read(evidence.row.name)
    return TaskResult(
        name=name,
        unit=study.headline.unit,
        higher_is_better=study.headline.higher_is_better,
        status=_status(evidence, study),
        reason=missing_on(study) or evidence.row.problem,
        score=scores.on_task(study),
        seeds=study.scores if study.complete else (),
        specialization=special,
        specialization_reason=special_reason,
        scores=scores.beside(study),
        tuning=tuning(study, plan.suite.tuning.sampler),
        counts=resources.counts(study),
        latency=timing,
        latency_reason=timing_reason,
        train_inputs_per_second=resources.inputs_per_second(study),
        peak_memory_mib=resources.train_memory(study),
        records=tuple(record.identity for record in study.final_records),
        provenance=provenance(study.final_records),
    )


def _vs_dense(evidence: Evidence, dense: Evidence | None) -> tuple[Measure | None, str]:
    if not evidence.complete:
        return None, scores.INCOMPLETE
    if dense is None:
        return None, f"'{BASELINE}' has no ranked result to compare with"
    return scores.difference(evidence, dense), ""


def _status(evidence: Evidence, study: Study) -> str:
    """One status for a task: that of its first failure, else not_run, else diverged, else done."""
    if evidence.row.problem or study.group is None:
        return "not_installed"
    if study.group.problem:
        return "over_budget"
    if not study.complete:
        failed = [run.status for run in study.open_runs if run.record is not None]
        return failed[0] if failed else "not_run"
    return "diverged" if any(record.status == "diverged" for record in study.final_records) else "done"


def _settled(runs: tuple[Run, ...]) -> int:
    return sum(not run.problem for run in runs)
