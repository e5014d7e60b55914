"""What tuning found for a row on one task, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from math import log
from typing import Any

from moebench.board.evidence import Study
from moebench.board.model import Tuning
from moebench.board.rules import EDGE_SHARE
from moebench.board.statistics import expected_best_curve


def tuning(study: Study, sampler: str) -> Tuning | None:
    """None until every trial has a result."""
    group = study.group
    if group is None or study.winner is None:
        return None
    records = [run.record for run in study.trials if run.record is not None]
    values = [study.score(record, "validation") for record in records]
    settings = dict(sorted(group.trials[study.winner].items()))
    curve, reason = _effort(values, sampler, study.headline.higher_is_better)
    return Tuning(
        winner=study.winner,
        settings=settings,
        validation=values[study.winner],
        default_validation=values[0],
        device_seconds=round(sum(float(record.provenance.get("seconds", 0)) for record in records), 3),
        edges=tuple(filter(None, (_edge(name, settings[name], group.space.get(name, {})) for name in settings))),
        effort=curve,
        effort_reason=reason,
    )


def _effort(values: list[float], sampler: str, higher: bool) -> tuple[tuple[float, ...], str]:
    """The curve over the random trials; trial 0 is the default, which nobody drew."""
    if sampler != "random":
        return (), f"trials of the sampler '{sampler}' depend on each other"
    if len(values) < 2:
        return (), "there is no random trial beside the default"
    return expected_best_curve(values[1:], higher_is_better=higher), ""


def _edge(name: str, value: Any, dimension: Mapping[str, Any]) -> str:
    """A sentence if the setting lies at the edge of what was tuned; two options have no inside."""
    if "options" in dimension:
        options = dimension["options"]
        if len(options) < 3 or not all(map(_is_number, options)) or min(options) < value < max(options):
            return ""
        low, high = min(options), max(options)
    elif "low" in dimension:
        low, high = dimension["low"], dimension["high"]
        if EDGE_SHARE < _position(value, low, high, bool(dimension.get("log"))) < 1 - EDGE_SHARE:
            return ""
    else:
        return ""
    return f"best {name} = {value:.4g} is at the edge of its range {low:.4g} to {high:.4g}"


def _is_number(option: Any) -> bool:
    return isinstance(option, int | float) and not isinstance(option, bool)


def _position(value: float, low: float, high: float, is_log: bool) -> float:
    """Where the value lies between low (0) and high (1)."""
    if is_log:
        return (log(value) - log(low)) / (log(high) - log(low))
    return (value - low) / (high - low)
