"""The board for programs: one JSON object, and comma-separated values; both in full precision."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from math import isfinite
from typing import Any

from moebench.board.columns import COLUMNS, COUNTED, bounds
from moebench.board.model import Board, Counts, Entry, Measure, OtherRuns, Rung, TaskNote, TaskResult, Timing, Tuning
from moebench.board.numbers import plain
from moebench.board.reasons import Reason
from moebench.board.rules import LEVEL, RANK_RULE


def to_json(board: Board) -> str:
    """Text of the object, ending in a newline; a number that is not finite becomes null."""
    return dump(_finite(to_object(board)))


def dump(value: Any) -> str:
    """The text of every JSON that a person may read, too."""
    return json.dumps(value, indent=1, allow_nan=False) + "\n"


def to_object(board: Board) -> dict[str, Any]:
    """Plain values. ``budget``, ``entries`` and ``against`` are the first budget's, ``ladder`` has the further ones."""
    first, *further = board.rungs
    return {
        "suite": board.suite,
        "title": board.title,
        "protocol": board.protocol,
        "axis": board.axis,
        "budget": first.budget,
        "device": board.device,
        "seeds": board.seeds,
        "trials": board.trials,
        "sampler": board.sampler,
        "level": LEVEL,
        "rank_rule": RANK_RULE,
        "latency_batch": board.latency_batch,
        "latency_rounds": board.latency_rounds,
        "tasks": {task.name: _task_note(task) for task in board.tasks},
        "versions": board.versions,
        "calibration": dataclasses.asdict(board.calibration) if board.calibration else None,
        "verification": dataclasses.asdict(board.verification) if board.verification else None,
        **_of_rung(first),
        "ladder": [{"budget": rung.budget, **_of_rung(rung)} for rung in further],
        "strangers": [_other_runs(other) for other in board.other_runs],
    }


def to_csv(board: Board) -> str:
    """A header line, then a line for each row of each budget; what is not known is empty."""
    lines = [_line(board, rung, entry) for rung in board.rungs for entry in rung.entries]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return buffer.getvalue()


def measure(value: Measure | None) -> dict[str, Any] | None:
    """value, low, high, unit; a timing has its ratio to dense beside them."""
    if value is None:
        return None
    found: dict[str, Any] = {"value": value.value, "low": value.low, "high": value.high}
    if value.unit:
        found["unit"] = value.unit
    if isinstance(value, Timing):
        found["ratio_to_dense"] = measure(value.ratio_to_dense)
    return found


def text(reason: Reason | None) -> str | None:
    """A reason in JSON."""
    return reason.text if reason else None


def _of_rung(rung: Rung) -> dict[str, Any]:
    return {
        "entries": [_entry(entry) for entry in rung.entries],
        "against": [dataclasses.asdict(each) for each in rung.against],
    }


def _other_runs(other: OtherRuns) -> dict[str, Any]:
    return {
        "variant": other.variant,
        "task": other.task,
        "runs": other.runs,
        "score": measure(other.score),
        "reason": other.reason.sentence,
        "rank": None,
    }


def _task_note(task: TaskNote) -> dict[str, Any]:
    return {
        "label": task.label,
        "metric": task.metric,
        "unit": task.unit,
        "higher_is_better": task.higher_is_better,
        "floor": task.floor,
        **task.shared_settings,
    }


def _entry(entry: Entry) -> dict[str, Any]:
    """Every column, with the reason behind it where it may have none."""
    found: dict[str, Any] = {}
    for column in COLUMNS:
        value = column.value(entry)
        found[column.key] = measure(value) if isinstance(value, Measure) else value
        if column.reason:
            found[f"{column.key}_reason"] = column.reason(entry)
    return found | {"tasks": {task.name: _task(task) for task in entry.tasks}}


def _task(task: TaskResult) -> dict[str, Any]:
    score = task.score
    return {
        "value": score.value if score else None,
        "low": score.low if score else None,
        "high": score.high if score else None,
        "unit": task.unit,
        "higher_is_better": task.higher_is_better,
        "status": task.status,
        "reason": task.reason.sentence if task.reason else None,
        "seeds": list(task.seeds),
        "specialization": measure(task.specialization),
        "specialization_reason": text(task.specialization_reason),
        "latency": measure(task.latency),
        "latency_reason": text(task.latency_reason),
        **_counts(task.counts),
        "train_inputs_per_second": task.train_inputs_per_second,
        "train_peak_memory_mib": task.peak_memory_mib,
        "tuning": _tuning(task.tuning),
        "scores": {
            s.name: {**(measure(s.measure) or {"value": None}), **({"reason": s.reason.text} if s.reason else {})}
            for s in task.scores
        },
        "records": list(task.records),
        "provenance": dataclasses.asdict(task.provenance) if task.provenance else None,
    }


def _tuning(tuning: Tuning | None) -> dict[str, Any] | None:
    if tuning is None:
        return None
    return {
        "winner": tuning.winner,
        "settings": tuning.settings,
        "edges": [edge.text for edge in tuning.edges],
        "validation": tuning.validation,
        "default_validation": tuning.default_validation,
        "device_seconds": tuning.device_seconds,
        "effort": list(tuning.effort),
        "effort_reason": text(tuning.effort_reason),
    }


def _counts(counts: Counts | None) -> dict[str, Any]:
    return {name: getattr(counts, name) if counts else None for name in COUNTED}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _line(board: Board, rung: Rung, entry: Entry) -> dict[str, Any]:
    """Where it is from, every column that CSV has, amounts last, and each task's score."""
    line: dict[str, Any] = {
        "suite": board.suite,
        "protocol": board.protocol,
        "axis": board.axis,
        "budget": rung.budget,
        "device": board.device,
    }
    for column in sorted(COLUMNS, key=lambda column: column.kind == "amount"):
        line |= column.csv(entry) if column.csv else {}
    for task in entry.tasks:
        line |= bounds(task.name, task.score) | {f"{task.name}_status": task.status}
    return {name: _cell(value) if isinstance(value, str) else value for name, value in line.items()}


def _cell(value: str) -> str:
    """One line that no spreadsheet takes for a formula: names and reasons may come from anyone's code."""
    cell = plain(value)
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@")) else cell
