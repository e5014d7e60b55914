"""Finished runs under a row's name that belong to another comparison: shown with the reason, never mixed in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from moebench.board.frame import difference
from moebench.board.model import Stranger
from moebench.board.rules import LEVEL
from moebench.board.scores import measure
from moebench.board.statistics import mean_interval
from moebench.planning.plan import Plan
from moebench.runs import Record
from moebench.tasks import TASKS, get_task


def strangers(plan: Plan, records: Iterable[Record]) -> tuple[Stranger, ...]:
    """Of final runs of the plan's suite, those whose frame is not the plan's, by row, task and what differs.

    Those of a task that this moebench does not know (an older one's, a plug-in's that is gone) have no score to show.
    """
    found: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for record in records:
        row, task = str(record.provenance.get("row", "")), str(record.cell["task"])
        if record.settled and task in TASKS and (reason := apart(plan, row, record.cell)):
            headline = get_task(task).info.ranked_by
            score = record.scores.get(f"test_{headline.name}") if record.status == "done" else None
            found[row, task, reason].append(headline.floor if score is None else score)
    return tuple(
        Stranger(
            variant=row,
            task=task,
            runs=len(scores),
            score=measure(mean_interval([[score] for score in scores], LEVEL), get_task(task).info.ranked_by.unit),
            reason=reason,
        )
        for (row, task, reason), scores in sorted(found.items())
    )


def apart(plan: Plan, row: str, cell: Mapping[str, Any]) -> str:
    """What keeps a run from the plan's runs of a row, as a sentence; empty where nothing does."""
    groups = [group for group in plan.groups_of(row) if group.task == cell["task"] and not group.problem]
    if not groups:
        return f"the board has no row '{row}' on task '{cell['task']}'."
    found = min((difference(cell, group.template) for group in groups), key=len)
    return f"it has {found}." if found else ""
