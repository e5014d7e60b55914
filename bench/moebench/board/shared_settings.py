"""What runs must share to be compared: what a board's rows shared, and how other runs differ from it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from moebench.board.model import Estimate, OtherRuns, TaskNote
from moebench.board.reasons import Reason
from moebench.board.rules import LEVEL
from moebench.plans.plan import Plan, score_of
from moebench.plugins.find import TASKS
from moebench.plugins.named import is_here, without_digest
from moebench.records import Record
from moebench.statistics import mean_interval
from moebench.suites import TaskEntry
from moebench.tasks import get_task

COMPARED = (
    "protocol",
    "data_digest",
    "split",
    "host",
    "axis",
    "budget",
    "steps",
    "batch",
    "micro_batch",
    "precision",
    "threads",
)
"""What must be equal for two runs to be compared; settings of a variant, seeds and code are what is compared."""

SHOWN = ("data_digest", "split", "host", "steps", "batch", "micro_batch", "precision", "threads")
"""Of these, what stands above a board, by task."""

WORDS: Mapping[str, str] = {"data_digest": "data", "micro_batch": "micro-batch"}

Difference = tuple[str, str, str]
"""What differs, in the one, in the other, in words."""


def differences(own: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[Difference, ...]:
    """All that differs of what must be equal between two cells."""
    parts = []
    for name in COMPARED:
        here, there = own.get(name), other.get(name)
        if here != there:
            here, there, inner = _inner(here, there)
            parts.append((f"{WORDS.get(name, name)}{inner}", in_words(here), in_words(there)))
    return tuple(parts)


def in_words(value: Any) -> str:
    """A setting as a person reads it."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "none" if value is None else str(value)


def task_notes(plan: Plan) -> tuple[TaskNote, ...]:
    """What every row of a board shared, one note a task in the suite's order."""
    return tuple(_note(plan, entry) for entry in plan.suite.task)


def other_runs(plan: Plan, records: Iterable[Record]) -> tuple[OtherRuns, ...]:
    """Of final runs of the plan's suite, those that are not compared with the plan's, by row, task and reason.

    Those of a task that this moebench does not know (an older one's, a plug-in's that is gone) have no score to show.
    """
    found: dict[tuple[str, str, str], list[tuple[float, Reason]]] = defaultdict(list)
    for record in records:
        row, task = str(record.provenance.get("row", "")), str(record.cell["task"])
        if record.settled and is_here(TASKS, task) and (reason := not_compared(plan, row, record.cell)):
            score = score_of(record, get_task(task).score_that_ranks(plan.suite.rank_by), "test")
            found[row, task, reason.text].append((score, reason))
    return tuple(
        OtherRuns(
            variant=row,
            task=without_digest(task),
            runs=len(runs),
            score=Estimate.of(mean_interval([[value] for value, _ in runs], LEVEL), _unit(plan, task)),
            reason=runs[0][1],
        )
        for (row, task, _), runs in sorted(found.items(), key=lambda each: each[0])
    )


def _unit(plan: Plan, task: str) -> str:
    return get_task(task).score_that_ranks(plan.suite.rank_by).unit


def not_compared(plan: Plan, row: str, cell: Mapping[str, Any]) -> Reason | None:
    """Why a run is not compared with the plan's runs of a row; None where it is."""
    groups = [group for group in plan.groups_of(row) if group.task == cell["task"] and not group.problem]
    if not groups:
        return Reason("no_such_row", row=row, task=cell["task"])
    reasons = [Reason("other_settings", differences=differences(cell, group.template)) for group in groups]
    nearest = min(reasons, key=lambda reason: len(reason.text))
    return nearest if nearest.facts["differences"] else None


def _inner(own: Any, other: Any) -> tuple[Any, Any, str]:
    """The first setting that differs, of two tables of settings."""
    if not isinstance(own, Mapping) or not isinstance(other, Mapping):
        return own, other, ""
    name = next(name for name in sorted({*own, *other}) if own.get(name) != other.get(name))
    return own.get(name), other.get(name), f" {name}"


def _note(plan: Plan, entry: TaskEntry) -> TaskNote:
    task, rank_by = get_task(entry.name), plan.suite.rank_by
    info, headline, beside = task.info, task.score_that_ranks(rank_by), task.score_beside(rank_by)
    training = plan.suite.training_of(entry).model_dump(mode="json") | {"host": plan.suite.host_of(entry)}
    # From the plan's cells, or from the suite where no row could be planned.
    values = training | next((group.template for group in plan.groups if group.task == entry.name), {})
    shared = {name: values[name] for name in SHOWN if name in values}
    return TaskNote(
        name=info.name,
        label=info.label_of(shared.get("data_digest", "")),
        metric=headline.name,
        unit=headline.unit,
        higher_is_better=headline.higher_is_better,
        floor=headline.floor,
        metric_beside=beside.name if beside else None,
        shared_settings=shared,
        loss_unit=get_task(entry.name).loss_unit,
    )
