"""What came of one row: its records task by task, and what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from moebench.planning.plan import Group, Lookup, Plan
from moebench.planning.rows import Row
from moebench.runs import Record
from moebench.runs.record import SETTLED
from moebench.tasks import Headline, TaskInfo, get_task


@dataclass(frozen=True)
class Run:
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
class Study:
    """A row on one task at one budget. ``group`` is None where the plan has none: the row has a problem."""

    info: TaskInfo
    group: Group | None
    trials: tuple[Run, ...] = ()
    finals: tuple[Run, ...] = ()
    winner: int | None = None

    @classmethod
    def of(cls, task: str, group: Group | None, lookup: Lookup) -> Study:
        """Look up every run of the group; those that cannot be known yet count as not run."""
        info = get_task(task).info
        if group is None or group.problem:
            return cls(info, group)
        trials = [lookup(cell.identity) for cell in group.trial_cells]
        finals = [lookup(cell.identity) for cell in group.final_cells(lookup)]
        return cls(
            info,
            group,
            _runs("trial", trials, len(group.shared), f"validation_{info.ranked_by.name}"),
            _runs("final", finals, len(group.final_seeds), f"test_{info.ranked_by.name}"),
            group.winner(lookup),
        )

    @property
    def headline(self) -> Headline:
        """The score of the task that ranks."""
        return self.info.ranked_by

    @property
    def runs(self) -> tuple[Run, ...]:
        """Trials, then finals."""
        return self.trials + self.finals

    @property
    def open_runs(self) -> tuple[Run, ...]:
        """The runs without a result."""
        return tuple(run for run in self.runs if run.problem)

    @property
    def complete(self) -> bool:
        """Whether every planned run has a result."""
        return bool(self.runs) and not self.open_runs

    @property
    def final_records(self) -> tuple[Record, ...]:
        """The final runs that have a record, in the order of the seeds."""
        return tuple(run.record for run in self.finals if run.record is not None)

    @cached_property
    def scores(self) -> tuple[float, ...]:
        """Test score by seed; a diverged run has the task's floor. Only for a complete study."""
        return tuple(self.score(record) for record in self.final_records)

    def score(self, record: Record, part: str = "test") -> float:
        """The task's headline in a settled record on ``part`` of the data."""
        value = record.scores.get(f"{part}_{self.headline.name}") if record.status == "done" else None
        return self.headline.floor if value is None else value


@dataclass(frozen=True)
class Evidence:
    """One row at one budget: a study for each task, in the suite's order."""

    row: Row
    studies: tuple[Study, ...]

    @classmethod
    def of(cls, plan: Plan, row: Row, budget: int, lookup: Lookup) -> Evidence:
        """Gather the records of a row."""
        groups = {group.task: group for group in plan.groups_of(row.name) if group.budget == budget}
        tasks = plan.suite.task_names
        return cls(row, tuple(Study.of(task, groups.get(task), lookup) for task in tasks))

    @property
    def complete(self) -> bool:
        """Whether every run of every task has a result."""
        return all(study.complete for study in self.studies)

    @cached_property
    def scores_SM(self) -> list[list[float]]:
        """Test scores (S seeds, M tasks). Only for complete evidence."""
        return [list(seed) for seed in zip(*(study.scores for study in self.studies), strict=True)]


def _runs(kind: str, records: Sequence[Record | None], planned: int, metric: str) -> tuple[Run, ...]:
    missing: list[Record | None] = [None] * (planned - len(records))
    return tuple(Run(f"{kind} {index}", record, metric) for index, record in enumerate([*records, *missing]))
