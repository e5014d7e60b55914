"""What came of one row: its records task by task, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from moebench.board.reasons import Reason
from moebench.board.rules import BUDGET_TOLERANCE
from moebench.plans.plan import Group, Lookup, Plan, score_of
from moebench.plans.rows import Row
from moebench.records import Record
from moebench.records.record import SETTLED
from moebench.tasks import Headline, TaskInfo, get_task


@dataclass(frozen=True)
class PlannedRun:
    """A planned run. ``record`` is None where it was not run yet; ``metric`` is the score it must have."""

    label: str
    record: Record | None
    metric: str

    @property
    def status(self) -> str:
        """That of its record; a record that lacks the score it was made for is an error."""
        if self.record is None:
            return "not_run"
        lacking = self.record.status == "done" and self.record.scores.get(self.metric) is None
        return "error" if lacking else self.record.status

    @property
    def problem(self) -> str:
        """Why it counts for nothing; empty if it counts."""
        if self.record is None:
            return "not run yet"
        if self.status in SETTLED:
            return ""
        return self.record.reason or (f"its record lacks {self.metric}" if self.record.settled else "no reason kept")


@dataclass(frozen=True)
class RowStudy:
    """A row on one task at one budget. ``group`` is None where the plan has none: the row has a problem.

    headline: the score that ranks. beside: the other of headline and loss, if there is one.
    """

    task: str
    info: TaskInfo
    headline: Headline
    group: Group | None
    trials: tuple[PlannedRun, ...] = ()
    finals: tuple[PlannedRun, ...] = ()
    winner: int | None = None
    beside: Headline | None = None

    @classmethod
    def of(cls, task: str, group: Group | None, rank_by: str | None, lookup: Lookup) -> RowStudy:
        """Look up every run of the group; those that cannot be known yet count as not run."""
        found = get_task(task)
        info, headline, beside = found.info, found.score_that_ranks(rank_by), found.score_beside(rank_by)
        if group is None or group.problem:
            return cls(task, info, headline, group, beside=beside)
        trials = [lookup(cell.identity) for cell in group.trial_cells]
        finals = [lookup(cell.identity) for cell in group.final_cells(lookup)]
        return cls(
            task,
            info,
            headline,
            group,
            _runs("trial", trials, len(group.shared), f"validation_{headline.name}"),
            _runs("final", finals, len(group.final_seeds), f"test_{headline.name}"),
            group.winner(lookup),
            beside,
        )

    @cached_property
    def runs(self) -> tuple[PlannedRun, ...]:
        """Trials, then finals."""
        return self.trials + self.finals

    @cached_property
    def open_runs(self) -> tuple[PlannedRun, ...]:
        """The runs without a result."""
        return tuple(run for run in self.runs if run.problem)

    @cached_property
    def complete(self) -> bool:
        """Whether every planned run has a result."""
        return bool(self.runs) and not self.open_runs

    @cached_property
    def final_records(self) -> tuple[Record, ...]:
        """The final runs that have a record, in the order of the seeds."""
        return tuple(run.record for run in self.finals if run.record is not None)

    @cached_property
    def scores(self) -> tuple[float, ...]:
        """Test score by seed; a diverged run has the task's floor. Only for a complete study."""
        return tuple(score_of(record, self.headline, "test") for record in self.final_records)

    @cached_property
    def scores_beside(self) -> tuple[float, ...]:
        """The same of the score that stands beside the one that ranks; empty where a run lacks it."""
        name = f"test_{self.beside.name}" if self.beside else ""
        done = [record for record in self.final_records if record.status == "done"]
        if self.beside is None or not self.complete or any(record.scores.get(name) is None for record in done):
            return ()
        return tuple(score_of(record, self.beside, "test") for record in self.final_records)

    @property
    def missing(self) -> Reason | None:
        """Why the task has no score; None if it has one, or where the row itself has the problem."""
        if self.group is None or self.complete:
            return None
        if self.group.problem:
            return Reason("cannot_be_planned", problem=self.group.problem)
        return _incomplete(self.runs, [(run.label, run) for run in self.open_runs])

    @property
    def budget_error(self) -> float | None:
        """The largest signed share by which a final run misses the budget; None if a record lacks it."""
        errors = [record.counts.get("budget_error") for record in self.final_records]
        known = [float(error) for error in errors if error is not None]
        return max(known, key=abs) if known and len(known) == len(errors) else None


@dataclass(frozen=True)
class RowRuns:
    """One row at one budget: a study for each task, in the suite's order."""

    row: Row
    studies: tuple[RowStudy, ...]

    @classmethod
    def of(cls, plan: Plan, row: Row, budget: int, lookup: Lookup) -> RowRuns:
        """Gather the records of a row."""
        groups = {group.task: group for group in plan.groups_of(row.name) if group.budget == budget}
        tasks = plan.suite.task_names
        return cls(row, tuple(RowStudy.of(task, groups.get(task), plan.suite.rank_by, lookup) for task in tasks))

    @property
    def complete(self) -> bool:
        """Whether every run of every task has a result."""
        return all(study.complete for study in self.studies)

    @cached_property
    def scores_SM(self) -> list[list[float]]:
        """Test scores (S seeds, M tasks). Only for complete evidence."""
        return [list(seed) for seed in zip(*(study.scores for study in self.studies), strict=True)]

    @cached_property
    def beside_SM(self) -> list[list[float]]:
        """The same of the scores beside those that rank; empty unless every task has one of the same name."""
        if not all(study.scores_beside for study in self.studies):
            return []
        if len({study.beside.name for study in self.studies if study.beside}) > 1:
            return []
        return [list(seed) for seed in zip(*(study.scores_beside for study in self.studies), strict=True)]

    @property
    def unit(self) -> str:
        """Of the scores, the first task's."""
        return self.studies[0].headline.unit

    @property
    def higher_is_better(self) -> bool:
        """Of the scores; the tasks of a suite agree."""
        return self.studies[0].headline.higher_is_better

    def unranked(self, axis: str) -> Reason | None:
        """Why the row is not ranked; None for a row that is."""
        if reason := self._missing() or self.off_budget(axis) or self.audited():
            return reason
        return Reason("reference", note=self.row.note) if self.row.reference else None

    def off_budget(self, axis: str) -> Reason | None:
        """Why a complete row is not of this budget; None if it is."""
        for study in self.studies:
            error = study.budget_error
            if error is None:
                return Reason("size_unknown")
            if abs(error) > BUDGET_TOLERANCE:
                return Reason("off_budget", error=error, amount=study.group.amount if study.group else 0, axis=axis)
        return None

    def audited(self) -> Reason | None:
        """What the audit of its trained models found; None where it found nothing."""
        several = len(self.studies) > 1
        for study in self.studies:
            found = [record.audit["found"] for record in study.final_records if record.audit.get("found")]
            if found:
                code, facts = f"audit_{found[0][0]['code']}", {n: v for n, v in found[0][0].items() if n != "code"}
                reason = Reason(code, **facts, of_seeds=(len(found), len(study.final_records)))
                return reason.on(study.info.name if several else "")
        return None

    def _missing(self) -> Reason | None:
        """Why the row has no score on every task."""
        if self.row.problem:
            return Reason("cannot_run", problem=self.row.problem)
        several = len(self.studies) > 1
        for study in self.studies:
            if study.group is None:
                return Reason("no_study", task=study.info.name)
            if study.group.problem and study.missing:
                return study.missing.on(study.info.name if several else "")
        named = [
            (f"{study.info.name} {run.label}" if several else run.label, run)
            for study in self.studies
            for run in study.open_runs
        ]
        return _incomplete([run for study in self.studies for run in study.runs], named) if named else None


@dataclass(frozen=True)
class ResultSet:
    """A plan and the records there are of it, and the directory that they come from."""

    source: Path
    plan: Plan
    lookup: Lookup

    def evidence(self, name: str, budget: int) -> RowRuns | None:
        """What there is of a row; None where the set does not have it at that budget."""
        row = next((each for each in self.plan.rows if each.name == name), None)
        if row is None or budget not in self.plan.suite.budgets:
            return None
        return RowRuns.of(self.plan, row, budget, self.lookup)


def first_reason(by_task: Mapping[str, Reason | None]) -> Reason | None:
    """The first task's reason with its name, bare where all tasks have the same; None if none has one."""
    first = next(iter(by_task.values()))
    if all(reason == first for reason in by_task.values()):
        return first
    return next((reason.on(task) for task, reason in by_task.items() if reason), None)


def _incomplete(runs: Sequence[PlannedRun], named: Sequence[tuple[str, PlannedRun]]) -> Reason:
    """Which of the runs have no result: those that failed, and those that are not run yet. named: these, by name."""
    if all(run.record is None for run in runs):
        return Reason("not_run")
    return Reason(
        "incomplete",
        planned=len(runs),
        failed=tuple((name, run.status, run.problem) for name, run in named if run.record is not None),
        waiting=tuple(name for name, run in named if run.record is None),
    )


def _runs(kind: str, records: Sequence[Record | None], planned: int, metric: str) -> tuple[PlannedRun, ...]:
    missing: list[Record | None] = [None] * (planned - len(records))
    return tuple(PlannedRun(f"{kind} {index}", record, metric) for index, record in enumerate([*records, *missing]))
