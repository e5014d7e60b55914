"""Finished runs under a row's name that belong to another comparison: shown with the reason, never mixed in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from moebench.board.model import Stranger
from moebench.board.rules import LEVEL
from moebench.board.scores import measure
from moebench.board.statistics import mean_interval
from moebench.planning.plan import Group, Plan
from moebench.runs import Record
from moebench.tasks import get_task

FRAME = ("protocol", "data_digest", "split", "host", "axis", "budget", "steps", "batch", "micro_batch", "precision")
"""What must be equal for two runs to be compared, with the threads; settings, seeds and code are what is compared."""

WORDS: Mapping[str, str] = {"data_digest": "data", "micro_batch": "micro-batch"}


def strangers(plan: Plan, records: Iterable[Record]) -> tuple[Stranger, ...]:
    """Final runs of the plan's suite whose frame is not the plan's, by row, task and what differs."""
    found: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for record in records:
        row, task = str(record.provenance.get("row", "")), str(record.cell["task"])
        if record.provenance.get("suite") != plan.suite.name or record.cell["kind"] != "final" or not record.settled:
            continue
        if reason := apart(plan, row, record.cell):
            info = get_task(task).info
            score = record.scores.get(f"test_{info.metric}") if record.status == "done" else None
            found[row, task, reason].append(info.floor if score is None else score)
    return tuple(
        Stranger(
            variant=row,
            task=task,
            runs=len(scores),
            score=measure(mean_interval([[score] for score in scores], LEVEL), get_task(task).info.unit),
            reason=reason,
        )
        for (row, task, reason), scores in sorted(found.items())
    )


def apart(plan: Plan, row: str, cell: Mapping[str, Any]) -> str:
    """What keeps a run from the plan's runs of a row, as a sentence; empty where nothing does."""
    groups = [group for group in plan.groups_of(row) if group.task == cell["task"] and not group.problem]
    if not groups:
        return f"the board has no row '{row}' on task '{cell['task']}'."
    return min((_difference(group, cell) for group in groups), key=len)


def _difference(group: Group, cell: Mapping[str, Any]) -> str:
    """All that differs from one study; empty where nothing does."""
    parts = []
    for name in (*FRAME, "threads"):
        own, boards = cell.get(name), group.template.get(name)
        if own != boards:
            own, boards, inner = _inner(own, boards)
            parts.append(f"{WORDS.get(name, name)}{inner} {_word(own)} and not {_word(boards)}")
    return f"it has {', '.join(parts)}." if parts else ""


def _inner(own: Any, boards: Any) -> tuple[Any, Any, str]:
    """The first setting that differs, of two tables of settings."""
    if not isinstance(own, Mapping) or not isinstance(boards, Mapping):
        return own, boards, ""
    name = next(name for name in sorted({*own, *boards}) if own.get(name) != boards.get(name))
    return own.get(name), boards.get(name), f" {name}"


def _word(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "none" if value is None else str(value)
