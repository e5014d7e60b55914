"""What every row of a board shared: printed above the table, so that a reader need not take it on trust."""

from __future__ import annotations

from typing import Any

from moebench.board.model import TaskNote
from moebench.planning.plan import Plan
from moebench.suites import TaskEntry
from moebench.suites.schema import Training
from moebench.tasks import get_task

SHOWN = ("data_digest", "split", "host", "steps", "batch", "micro_batch", "precision", "threads")


def task_notes(plan: Plan) -> tuple[TaskNote, ...]:
    """One note a task, in the suite's order."""
    return tuple(_note(plan, entry) for entry in plan.suite.task)


def _note(plan: Plan, entry: TaskEntry) -> TaskNote:
    info = get_task(entry.name).info
    headline = info.ranked_by
    held_equal = _held_equal(plan, entry)
    return TaskNote(
        name=info.name,
        label=info.label_of(held_equal.get("data_digest", "")),
        metric=headline.name,
        unit=headline.unit,
        higher_is_better=headline.higher_is_better,
        floor=headline.floor,
        held_equal=held_equal,
    )


def _held_equal(plan: Plan, entry: TaskEntry) -> dict[str, Any]:
    """From the plan's cells; from the suite where no row could be planned."""
    training = Training.model_validate(plan.suite.training.model_dump() | entry.training)
    values: dict[str, Any] = training.model_dump(mode="json") | {"host": plan.suite.host | entry.host}
    for group in plan.groups:
        if group.task == entry.name:
            values |= group.template
            break
    return {name: values[name] for name in SHOWN if name in values}
