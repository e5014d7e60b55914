"""A comparison as one JSON object, in full precision."""

from __future__ import annotations

import json
from typing import Any

from moebench.board.formats.json_object import measure
from moebench.board.rules import LEVEL
from moebench.comparison.model import Comparison, Pair


def to_json(comparison: Comparison) -> str:
    """Text of the object, ending in a newline."""
    value = {
        "suite": comparison.suite,
        "a": comparison.a,
        "b": comparison.b,
        "metric": comparison.metric,
        "higher_is_better": comparison.higher_is_better,
        "level": LEVEL,
        "counts": comparison.counts,
        "no_latency": comparison.no_latency or None,
        "pairs": [_object(pair) for pair in comparison.pairs],
    }
    return json.dumps(value, indent=1, allow_nan=False) + "\n"


def _object(pair: Pair) -> dict[str, Any]:
    return {
        "row": pair.row,
        "budget": pair.budget,
        "verdict": pair.verdict,
        "a": measure(pair.a),
        "b": measure(pair.b),
        "difference": measure(pair.difference),
        "p_value": pair.p_value,
        "seeds": pair.seeds,
        "tasks": {each.task: measure(each.value) for each in pair.tasks},
        "changed": list(pair.changed),
        "latency": [measure(side) for side in pair.latency] if pair.latency else None,
        "speed": pair.speed or None,
        "reason": pair.reason or None,
    }
