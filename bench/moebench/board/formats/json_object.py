"""The board as one JSON object, in full precision."""

from __future__ import annotations

import dataclasses
import json
from math import isfinite
from typing import Any

from moebench.board.model import (
    Board,
    Counts,
    Entry,
    Measure,
    Rung,
    Stranger,
    TaskNote,
    TaskResult,
    Timing,
    Tuning,
)
from moebench.board.rules import LEVEL, RANK_RULE


def to_json(board: Board) -> str:
    """Text of the object, ending in a newline; a number that is not finite becomes null."""
    return json.dumps(_finite(to_object(board)), indent=1, allow_nan=False) + "\n"


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
        "ladder": [_rung(rung) for rung in further],
        "strangers": [_stranger(stranger) for stranger in board.strangers],
    }


def _rung(rung: Rung) -> dict[str, Any]:
    return {"budget": rung.budget, **_of_rung(rung)}


def _of_rung(rung: Rung) -> dict[str, Any]:
    return {
        "entries": [_entry(entry) for entry in rung.entries],
        "against": [dataclasses.asdict(each) for each in rung.against],
    }


def _stranger(stranger: Stranger) -> dict[str, Any]:
    return dataclasses.asdict(stranger) | {"score": measure(stranger.score), "rank": None}


def _task_note(task: TaskNote) -> dict[str, Any]:
    return {
        "label": task.label,
        "metric": task.metric,
        "unit": task.unit,
        "higher_is_better": task.higher_is_better,
        "floor": task.floor,
        **task.held_equal,
    }


def _entry(entry: Entry) -> dict[str, Any]:
    return {
        "variant": entry.variant,
        "implementation": entry.implementation,
        "reference": entry.reference,
        "note": entry.note,
        "rank": list(entry.rank) if entry.rank else None,
        "reason": entry.reason or None,
        "flags": list(entry.flags),
        "seeds": entry.seeds,
        "trials": entry.trials,
        "budget": entry.budget,
        **_counts(entry.counts),
        "representation": measure(entry.representation),
        "representation_reason": entry.representation_reason or None,
        "vs_dense": measure(entry.vs_dense),
        "vs_dense_reason": entry.vs_dense_reason or None,
        "specialization": measure(entry.specialization),
        "specialization_reason": entry.specialization_reason or None,
        "latency": measure(entry.latency),
        "latency_reason": entry.latency_reason or None,
        "latency_batch1": measure(entry.latency_batch1),
        "latency_layers": measure(entry.latency_layers),
        "train_step": measure(entry.train_step),
        "train_inputs_per_second": entry.train_inputs_per_second,
        "train_peak_memory_mib": entry.train_peak_memory_mib,
        "forward_peak_memory_mib": entry.forward_peak_memory_mib,
        "better_than": list(entry.better_than),
        "pareto": entry.pareto,
        "tasks": {task.name: _task(task) for task in entry.tasks},
    }


def _task(task: TaskResult) -> dict[str, Any]:
    score = task.score
    return {
        "value": score.value if score else None,
        "low": score.low if score else None,
        "high": score.high if score else None,
        "unit": task.unit,
        "higher_is_better": task.higher_is_better,
        "status": task.status,
        "reason": task.reason or None,
        "seeds": list(task.seeds),
        "specialization": measure(task.specialization),
        "specialization_reason": task.specialization_reason or None,
        "latency": measure(task.latency),
        "latency_reason": task.latency_reason or None,
        **_counts(task.counts),
        "train_inputs_per_second": task.train_inputs_per_second,
        "train_peak_memory_mib": task.peak_memory_mib,
        "tuning": _tuning(task.tuning),
        "scores": {
            s.name: {**(measure(s.measure) or {"value": None}), **({"reason": s.reason} if s.reason else {})}
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
        "edges": list(tuning.edges),
        "validation": tuning.validation,
        "default_validation": tuning.default_validation,
        "device_seconds": tuning.device_seconds,
        "effort": list(tuning.effort),
        "effort_reason": tuning.effort_reason or None,
    }


def _counts(counts: Counts | None) -> dict[str, Any]:
    names = ("total_params", "model_params", "active_params", "flops_per_input", "budget_error")
    return {name: getattr(counts, name) if counts else None for name in names}


def measure(value: Measure | None) -> dict[str, Any] | None:
    """value, low, high, unit; a timing has its ratio to dense beside them."""
    if value is None:
        return None
    plain: dict[str, Any] = {"value": value.value, "low": value.low, "high": value.high}
    if value.unit:
        plain["unit"] = value.unit
    if isinstance(value, Timing):
        plain["ratio_to_dense"] = measure(value.ratio_to_dense)
    return plain


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value
