"""A board from a plan and its records alone, so equal records give an equal board."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from moebench.board import estimates
from moebench.board.evidence import RowRuns, RowStudy
from moebench.board.experts import Quotient, comparable, experts_of, in_words
from moebench.board.latency import FORWARD_BATCH1, Clock
from moebench.board.model import Board, Entry, Estimate, Rung, TaskNote, TaskResult, Worth
from moebench.board.ranking import (
    against_references,
    calibration,
    in_order,
    on_pareto,
    power,
    rank_rows,
    tuning_survival,
)
from moebench.board.reasons import SHOWN, Reason
from moebench.board.shared_settings import other_runs, task_notes
from moebench.board.worth import TaskLadder, ladders_of, noted, regrets_of, worth_of
from moebench.plans.plan import Lookup, Plan
from moebench.plans.rows import BASELINE, by_others, sources_of
from moebench.plugins.find import is_place
from moebench.records import Record
from moebench.records.conformance import NOT_CHECKED, Conformance, described

Others = Callable[[Container[str]], Iterable[Record]]
"""Final runs of the suite beside those with the identities that are known already, as ``Store.finals_of`` has them."""


def build_board(
    plan: Plan,
    lookup: Lookup,
    others: Others = lambda known: (),
    conformance: Mapping[str, Conformance] = NOT_CHECKED,
    *,
    published: bool = False,
) -> Board:
    """The board of a plan. ``lookup`` (as ``Store.get``) is asked once for each run.

    conformance: by the identity of a row's code. published: a row of another author is ranked where it holds all
    checks.

    others: among them those of another protocol, budget or training are named.
    """
    known: dict[str, Record | None] = {}

    def seen(identity: str) -> Record | None:
        if identity not in known:
            known[identity] = lookup(identity)
        return known[identity]

    suite = plan.suite
    gathered = {budget: [RowRuns.of(plan, row, budget, seen) for row in plan.board_rows] for budget in suite.budgets}
    ladders = ladders_of(plan, seen)
    checked = {row.name: conformance.get(row.code_digest) for row in by_others(plan.board_rows)}
    rungs = tuple(_rung(plan, budget, rows, ladders, seen, checked, published) for budget, rows in gathered.items())
    studies = [study for evidences in gathered.values() for evidence in evidences for study in evidence.studies]
    runs = [run for evidences in gathered.values() for e in evidences for study in e.studies for run in study.runs]
    return Board(
        suite=suite.name,
        title=suite.title,
        protocol=plan.protocol,
        axis=suite.axis,
        device=plan.device["name"],
        seeds=suite.seeds,
        trials=suite.tuned.trials,
        sampler=suite.tuned.sampler,
        latency_batch=suite.latency.batch,
        latency_rounds=suite.latency.rounds,
        tasks=tuple(
            _with_amounts(note, [study for study in studies if study.info.name == note.name])
            for note in task_notes(plan)
        ),
        rungs=rungs,
        versions=estimates.versions(run.record for run in runs if run.record is not None),
        calibration=calibration(gathered[suite.budgets[0]], suite.seeds, rungs),
        other_runs=other_runs(plan, others(known)),
        trial_steps=suite.tuned.steps,
        dense_ladder=tuple(noted(each, suite.ladder.floor if suite.ladder else None) for each in ladders),
    )


Checked = Mapping[str, Conformance | None]
"""Of each row of another author, by name; None where it was not checked."""


def _rung(
    plan: Plan,
    budget: int,
    evidences: list[RowRuns],
    ladders: Sequence[TaskLadder],
    lookup: Lookup,
    checked: Checked,
    published: bool,
) -> Rung:
    clock = Clock.of(plan, budget, lookup)
    reasons = {e.row.name: _stopped(checked, e) or e.unranked(plan.suite.axis) for e in evidences}
    if published:
        reasons = {name: reason or _unchecked(checked, name) for name, reason in reasons.items()}
    ranking = rank_rows(evidences, reasons)
    ranks, places = ranking.ranks, on_pareto(ranking, evidences, clock)
    survival, turns, survival_reason = tuning_survival(ranking, evidences, plan.suite.tuned.sampler)
    dense = next((e for e in evidences if e.row.name == BASELINE and not reasons[BASELINE]), None)
    compared = _compared_specialization(evidences)
    worths = worth_of(plan, evidences, ladders, regrets_of(plan, lookup))
    sources = sources_of(plan.board_rows)
    entries = [
        replace(
            entry := _worth(
                _entry(
                    plan,
                    budget,
                    evidence,
                    clock,
                    compared,
                    dense=dense,
                    reason=reasons[evidence.row.name],
                    sources=sources[evidence.row.name],
                ),
                worths,
            ),
            rank=ranks.get(evidence.row.name),
            conformance=_conformance(checked, evidence.row.name),
            flags=(*entry.flags, *_fails(checked, evidence.row.name)),
            better_than=ranking.better_than(evidence.row.name),
            pareto=places.get(evidence.row.name),
            rank_survival=survival.get(evidence.row.name),
            order_turns=turns.get(evidence.row.name),
            rank_survival_reason=survival_reason if evidence.row.name in ranks else None,
        )
        for evidence in evidences
    ]
    higher = evidences[0].higher_is_better
    return Rung(
        budget,
        in_order(entries, higher),
        against_references(evidences, reasons, higher),
        power(evidences, reasons, plan.suite.smallest_difference),
    )


def _worth(entry: Entry, worths: Mapping[str, tuple[Worth, tuple[Worth, ...]]]) -> Entry:
    """The row with what it is worth, over all tasks and on each."""
    whole, of_tasks = worths[entry.variant]
    tasks = (replace(task, worth=each) for task, each in zip(entry.tasks, of_tasks, strict=True))
    return replace(entry, worth=whole, tasks=tuple(tasks))


def _stopped(checked: Checked, evidence: RowRuns) -> Reason | None:
    """Why a row is not trained whose checks did not come back; None where it was trained unchecked."""
    found = checked.get(evidence.row.name)
    if found is None or not found.stopped or evidence.complete:
        return None
    return Reason("cannot_be_planned", problem=found.stopped)


def _unchecked(checked: Checked, name: str) -> Reason | None:
    """Why a published row of another author has no rank for its checks' sake."""
    if name not in checked:
        return None
    return next(iter(_fails(checked, name)), None) if checked[name] else Reason("not_checked")


def _fails(checked: Checked, name: str) -> tuple[Reason, ...]:
    found = checked.get(name)
    if found is None or found.complete:
        return ()
    return (Reason("checks_fail", holds=found.holds, of=found.of, names=", ".join(found.failed[:SHOWN])),)


def _conformance(checked: Checked, name: str) -> str | None:
    return described(checked[name]) if name in checked else None


Quotients = Mapping[str, Mapping[str, Quotient]]
"""Specialization by task, empty for all tasks together, and row."""


def _compared_specialization(evidences: Sequence[RowRuns]) -> Quotients:
    """Of all tasks together and of each, with reasons in place of what no other row's can be compared with."""
    tasks = [study.task for study in evidences[0].studies]
    found = {}
    for task in ("", *tasks):
        studies = {e.row.name: [study for study in e.studies if task in ("", study.task)] for e in evidences}
        found[task] = comparable(
            {row: estimates.specialization(of) for row, of in studies.items()},
            {row: [*map(experts_of, of)] for row, of in studies.items()},
        )
    return found


def _entry(
    plan: Plan,
    budget: int,
    evidence: RowRuns,
    clock: Clock,
    compared: Quotients,
    *,
    dense: RowRuns | None,
    reason: Reason | None,
    sources: Mapping[str, str],
) -> Entry:
    """The row without what follows from the ranking. ``dense`` is None where it is not ranked."""
    row, studies = evidence.row, evidence.studies
    special, special_reason = compared[""][row.name]
    timing, timing_reason = clock.read(row.name)
    versus, versus_reason = _vs_dense(evidence, dense)
    results = [_task_result(plan, evidence, study, clock, compared) for study in studies]
    return Entry(
        variant=row.name,
        implementation=row.variant,
        reference=row.reference,
        note=row.note or _from_file(row.spec),
        budget=next((study.group.amount for study in studies if study.group), budget),
        reason=reason,
        flags=_flags(plan, evidence, results, clock),
        seeds=min(sum(not run.problem for run in study.finals) for study in studies),
        trials=min(sum(not run.problem for run in study.trials) for study in studies),
        counts=estimates.mean_counts(studies),
        tasks=tuple(results),
        representation=estimates.representation(evidence),
        representation_reason=None if evidence.complete else reason,
        score_beside=estimates.score_beside(evidence),
        vs_dense=versus,
        vs_dense_reason=versus_reason,
        specialization=special,
        specialization_reason=special_reason,
        selection_gain=estimates.specialization(studies, "selection_gain")[0],
        experts_gain=estimates.specialization(studies, "experts_gain")[0],
        experts=in_words([*map(experts_of, studies)]) or None,
        latency=timing,
        latency_reason=timing_reason,
        latency_batch1=clock.read(row.name, FORWARD_BATCH1)[0],
        latency_layers=clock.read(row.name, "layers_ms")[0],
        latency_token=clock.read(row.name, "token_ms")[0],
        train_step=clock.read(row.name, "train_step_ms")[0],
        training=estimates.training(studies),
        train_tokens_per_second=estimates.over_tasks(
            studies, lambda study: _tokens_per_second(plan, row.name, study, clock), _mean
        ),
        train_inputs_per_second=estimates.over_tasks(studies, estimates.inputs_per_second, _mean),
        train_peak_memory_mib=estimates.over_tasks(studies, estimates.train_memory, max),
        forward_peak_memory_mib=clock.memory_mib(row.name, "peak_memory_mib"),
        resident_memory_mib=clock.memory_mib(row.name, "resident_memory_mib"),
        resident_memory_batch1_mib=clock.memory_mib(row.name, "resident_memory_batch1_mib"),
        winners_curse=estimates.winners_curse(results),
        of_tokens=estimates.of_tokens(studies),
        paper=sources["paper"],
        code=sources["code"],
        author=sources["author"],
    )


def _with_amounts(note: TaskNote, studies: Sequence[RowStudy]) -> TaskNote:
    """The note with how often training passed over the data, and how many bytes of text were scored."""
    inputs, known = estimates.train_inputs(studies), note.shared_settings
    return replace(
        note,
        epochs=known["steps"] * known["batch"] / inputs if inputs else None,
        scored_bytes=estimates.scored_bytes(studies),
    )


def _tokens_per_second(plan: Plan, row: str, study: RowStudy, clock: Clock) -> float | None:
    """Of the training step that a session timed."""
    step, tokens = clock.only(study.task).read(row, "train_step_ms")[0], estimates.tokens(study)
    return None if step is None or tokens is None else plan.suite.latency.batch * tokens / step.value * 1000


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _from_file(spec: str) -> str:
    """The file of a row's code, where it is no installed variant's."""
    return f"from the file {Path(spec.rpartition(':')[0]).name}" if is_place(spec) else ""


def _task_result(plan: Plan, evidence: RowRuns, study: RowStudy, clock: Clock, compared: Quotients) -> TaskResult:
    name, row, problem = study.info.name, evidence.row.name, evidence.row.problem
    special, special_reason = compared[study.task][row]
    timing, timing_reason = clock.only(study.task).read(row)
    return TaskResult(
        name=name,
        unit=study.headline.unit,
        higher_is_better=study.headline.higher_is_better,
        status=_status(evidence, study),
        reason=study.missing or (Reason("cannot_run", problem=problem) if problem else None),
        score=estimates.representation(RowRuns(evidence.row, (study,))),
        seeds=study.scores if study.complete else (),
        specialization=special,
        specialization_reason=special_reason,
        selection_gain=estimates.specialization([study], "selection_gain")[0],
        experts_gain=estimates.specialization([study], "experts_gain")[0],
        experts=experts_of(study),
        scores=estimates.scores_beside(study),
        tuning=estimates.tuning(study, plan.suite.tuned.sampler),
        curve=estimates.loss_curve(study),
        routes=estimates.routes(study),
        counts=estimates.counts(study),
        latency=timing,
        latency_reason=timing_reason,
        latency_batch1=clock.only(study.task).read(row, FORWARD_BATCH1)[0],
        train_inputs_per_second=estimates.inputs_per_second(study),
        peak_memory_mib=estimates.train_memory(study),
        training=estimates.training([study]),
        records=tuple(record.identity for record in study.final_records),
        provenance=estimates.provenance(study.final_records),
    )


def _vs_dense(evidence: RowRuns, dense: RowRuns | None) -> tuple[Estimate | None, Reason | None]:
    if not evidence.complete:
        return None, Reason("row_incomplete")
    if dense is None:
        return None, Reason("no_ranked_dense", dense=BASELINE)
    return estimates.difference(evidence, dense), None


def _status(evidence: RowRuns, study: RowStudy) -> str:
    """One status for a task: that of its first failure, else not_run, else diverged, else done."""
    if evidence.row.problem or study.group is None:
        return "not_installed"
    if study.group.problem:
        return "over_budget"
    if not study.complete:
        failed = [run.status for run in study.open_runs if run.record is not None]
        return failed[0] if failed else "not_run"
    return "diverged" if any(record.status == "diverged" for record in study.final_records) else "done"


def _flags(plan: Plan, evidence: RowRuns, results: Sequence[TaskResult], clock: Clock) -> tuple[Reason, ...]:
    """What a reader should know before trusting the row's numbers."""
    several, row = len(results) > 1, evidence.row.name
    found: list[Reason] = []
    for study, result in zip(evidence.studies, results, strict=True):
        where = result.name if several else ""
        for index, run in enumerate(study.finals):
            if run.status == "diverged":
                found.append(Reason("diverged", seed=index, floor=study.headline.floor).on(where))
        found += [edge.on(where) for edge in (result.tuning.edges if result.tuning else ())]
        devices = {record.provenance.get("device") for record in study.final_records}
        if elsewhere := sorted(map(str, devices - {plan.device["name"], None})):
            found.append(Reason("other_device", devices=", ".join(elsewhere)).on(where))
    for task, early, late in clock.drifts(row):
        found.append(Reason("drift", early=early, late=late).on(task if several else ""))
    return tuple(found)
