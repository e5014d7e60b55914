"""The board for programs: one JSON object, and comma-separated values; both in full precision."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from moebench.board.columns import COLUMNS, COUNTED, Column, bounds
from moebench.board.model import Board, Entry, Estimate, Rung, TaskNote, TaskResult, Timing
from moebench.board.reasons import Reason
from moebench.board.rules import LEVEL, RANK_RULE
from moebench.board.words import data_name, is_unknown
from moebench.text import one_line


def to_json(board: Board) -> str:
    """Text of the object, ending in a newline.

    ``budget``, ``entries`` and ``against`` are the first budget's, ``ladder`` has the further ones.
    """
    first, *further = board.rungs
    names = ("suite", "title", "protocol", "axis", "budget", "device", "seeds", "trials", "sampler")
    return dump(
        {
            **{name: getattr(board, name) for name in names},
            "level": LEVEL,
            "rank_rule": RANK_RULE,
            "latency_batch": board.latency_batch,
            "latency_rounds": board.latency_rounds,
            "tasks": {task.name: _shared(task) | task.shared_settings for task in board.tasks},
            "versions": board.versions,
            "calibration": board.calibration,
            "verification": board.verification,
            **({"trial_steps": board.trial_steps} if board.trial_steps else {}),
            **({"dense_ladder": board.dense_ladder} if board.dense_ladder else {}),
            **_of_rung(board, first),
            "ladder": [{"budget": rung.budget, **_of_rung(board, rung)} for rung in further],
            "other_runs": [
                {**_fields(other), "reason": other.reason.sentence, "rank": None} for other in board.other_runs
            ],
        }
    )


def dump(value: Any) -> str:
    """The text of every JSON that a person may read, too; a number that is not finite becomes null."""
    return json.dumps(to_plain(value), indent=1, allow_nan=False) + "\n"


def to_plain(value: Any) -> Any:
    """What JSON has for a value: of a measure its bounds, of a reason its text, of other objects their fields."""
    if isinstance(value, Estimate):
        return to_plain(_measure(value))
    if isinstance(value, Reason):
        return value.text
    if dataclasses.is_dataclass(value):
        return _fields(value)
    if isinstance(value, Mapping):
        return {name: to_plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return list(map(to_plain, value))
    return None if isinstance(value, float) and not isfinite(value) else value


def _shared(task: TaskNote) -> dict[str, Any]:
    return _fields(task, "name", "shared_settings", *(() if task.scored_bytes else ("scored_bytes",)))


def _fields(value: Any, *without: str) -> dict[str, Any]:
    """The fields of a dataclass, in their order."""
    names = (field.name for field in dataclasses.fields(value) if field.name not in without)
    return {name: to_plain(getattr(value, name)) for name in names}


def _measure(value: Estimate) -> dict[str, Any]:
    """value, low, high, unit; a timing has its ratio to dense beside them."""
    found: dict[str, Any] = {"value": value.value, "low": value.low, "high": value.high}
    if value.unit:
        found["unit"] = value.unit
    if isinstance(value, Timing):
        found["ratio_to_dense"] = value.ratio_to_dense
    return found


def to_csv(board: Board) -> str:
    """A header line, then a line for each row of each budget; what is not known is empty."""
    found = lines(board)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(found[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return buffer.getvalue()


def lines(board: Board) -> list[dict[str, Any]]:
    """What CSV has for each row of each budget, by the column's name."""
    return [_line(board, rung, entry) for rung in board.rungs for entry in rung.entries]


def _of_rung(board: Board, rung: Rung) -> dict[str, Any]:
    columns = [column for column in COLUMNS if column.known(board)]
    return {"entries": [_entry(entry, columns) for entry in rung.entries], "against": rung.against, "power": rung.power}


def _entry(entry: Entry, columns: Sequence[Column]) -> dict[str, Any]:
    """Every column, with the reason behind it where it may have none."""
    found: dict[str, Any] = {}
    for column in columns:
        found[column.key] = column.value(entry)
        if column.reason:
            found[f"{column.key}_reason"] = column.reason(entry)
    return found | {"tasks": {task.name: _task(task) for task in entry.tasks}}


def _task(task: TaskResult) -> dict[str, Any]:
    return {
        "value": task.score.value if task.score else None,
        "low": task.score.low if task.score else None,
        "high": task.score.high if task.score else None,
        "unit": task.unit,
        "higher_is_better": task.higher_is_better,
        "status": task.status,
        "reason": task.reason.sentence if task.reason else None,
        "seeds": task.seeds,
        "specialization": task.specialization,
        "specialization_reason": task.specialization_reason,
        "selection_gain": task.selection_gain,
        "experts_gain": task.experts_gain,
        "experts": task.experts,
        "latency": task.latency,
        "latency_reason": task.latency_reason,
        "latency_batch1": task.latency_batch1,
        **{name: getattr(task.counts, name, None) for name in COUNTED},
        "train_inputs_per_second": task.train_inputs_per_second,
        "train_peak_memory_mib": task.peak_memory_mib,
        "training": task.training,
        **{name: value for name, value in _fields(task.worth).items() if value not in (None, [])},
        "tuning": task.tuning,
        "curve": task.curve,
        "scores": {
            score.name: (_measure(score.measure) if score.measure else {"value": None})
            | ({"reason": score.reason} if score.reason else {})
            for score in task.scores
        },
        "records": task.records,
        "provenance": task.provenance,
    }


def _line(board: Board, rung: Rung, entry: Entry) -> dict[str, Any]:
    """Where it is from, every column that CSV has, amounts last, and each task's score. Columns are called after tasks;
    where the data of one are not known, ``tasks`` says so.
    """
    line: dict[str, Any] = {
        "suite": board.suite,
        "protocol": board.protocol,
        "axis": board.axis,
        "budget": rung.budget,
        "device": board.device,
    }
    if any(map(is_unknown, board.tasks)):
        line["tasks"] = ", ".join(map(data_name, board.tasks))
    for column in sorted(filter(lambda each: each.known(board), COLUMNS), key=lambda each: each.kind == "amount"):
        line |= column.csv(entry, column) if column.csv else {}
    for task in entry.tasks:
        line |= bounds(task.name, task.score) | {f"{task.name}_status": task.status}
    return {name: _cell(value) if isinstance(value, str) else value for name, value in line.items()}


def _cell(value: str) -> str:
    """One line that no spreadsheet takes for a formula: names and reasons may come from anyone's code."""
    cell = one_line(value)
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@")) else cell
