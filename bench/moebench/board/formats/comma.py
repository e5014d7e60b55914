"""The board as comma-separated values: a line for each row of each budget, in full precision."""

from __future__ import annotations

import csv
import io
from typing import Any

from moebench.board.formats.numbers import plain
from moebench.board.model import Board, Counts, Entry, Measure, Rung

COUNTED = ("total_params", "model_params", "active_params", "flops_per_input", "budget_error")


def to_csv(board: Board) -> str:
    """Text with a header line; what is not known is empty."""
    lines = [_line(board, rung, entry) for rung in board.rungs for entry in rung.entries]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return buffer.getvalue()


def _line(board: Board, rung: Rung, entry: Entry) -> dict[str, Any]:
    ratio = entry.latency.ratio_to_dense if entry.latency else None
    line = {
        "suite": board.suite,
        "protocol": board.protocol,
        "axis": board.axis,
        "budget": rung.budget,
        "device": board.device,
        "variant": entry.variant,
        "reference": entry.reference,
        "rank_low": entry.rank[0] if entry.rank else None,
        "rank_high": entry.rank[1] if entry.rank else None,
        "reason": entry.reason,
        "flags": "; ".join(entry.flags),
        "seeds": entry.seeds,
        "trials": entry.trials,
        **_interval("representation", entry.representation),
        **_interval("vs_dense", entry.vs_dense),
        **_interval("specialization", entry.specialization),
        "specialization_reason": entry.specialization_reason,
        **_interval("latency_ms", entry.latency),
        **_interval("latency_ratio_to_dense", ratio),
        "latency_reason": entry.latency_reason,
        **_counts(entry.counts),
        "train_inputs_per_second": entry.train_inputs_per_second,
        "train_peak_memory_mib": entry.train_peak_memory_mib,
    }
    for task in entry.tasks:
        line |= _interval(task.name, task.score)
        line[f"{task.name}_status"] = task.status
    return {name: _text(value) if isinstance(value, str) else value for name, value in line.items()}


def _text(value: str) -> str:
    """One line that no spreadsheet takes for a formula: names and reasons may come from anyone's code."""
    text = plain(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _interval(name: str, measure: Measure | None) -> dict[str, float | None]:
    if measure is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {name: measure.value, f"{name}_low": measure.low, f"{name}_high": measure.high}


def _counts(counts: Counts | None) -> dict[str, float | None]:
    return {name: getattr(counts, name) if counts else None for name in COUNTED}
