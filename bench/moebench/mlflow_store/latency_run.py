"""A latency session as a run in MLflow, and the timings that a study gets from it."""

from __future__ import annotations

import statistics
from typing import Any

from moebench.mlflow_store.content import Content, Entry, Point, finite, texts_of, version_of
from moebench.mlflow_store.labels import budget_suffix, provenance_params, run_tags, status_tags, times
from moebench.plans.plan import Plan
from moebench.plans.rows import BASELINE
from moebench.records import Record


def latency_entry(plan: Plan, record: Record) -> Entry:
    """The run of a session."""
    version = version_of(record.model_dump(mode="json"))
    return Entry(key=f"latency/{record.identity}", version=version, content=lambda: _content(plan, record))


def timings(record: Record) -> dict[str, dict[str, float]]:
    """Identity of a finalist -> its medians over rounds (forward_ms, ...), and its paired ratio to dense."""
    finalists = record.details.get("finalists", {})
    dense = next((each.get("forward_ms") for each in finalists.values() if each["row"] == BASELINE), None)
    return {identity: _medians(each, dense) for identity, each in finalists.items()}


def _medians(finalist: dict[str, Any], dense: list[float] | None) -> dict[str, float]:
    rounds = _rounds(finalist)
    medians = {name: statistics.median(values) for name, values in rounds.items()}
    forward = rounds.get("forward_ms")
    if forward and dense and len(forward) == len(dense):
        ratios = [own / other for own, other in zip(forward, dense, strict=True)]
        medians["forward_ratio_to_dense"] = statistics.median(ratios)
    return finite({**medians, "forward_peak_memory_mib": finalist.get("peak_memory_mib")})


def _rounds(finalist: dict[str, Any]) -> dict[str, list[float]]:
    """What was measured in every round, by name."""
    return {name: values for name, values in finalist.items() if isinstance(values, list) and values}


def _content(plan: Plan, record: Record) -> Content:
    cell, finalists, measured, spent = record.cell, record.details.get("finalists", {}), timings(record), times(record)
    kept = {name: cell[name] for name in ("task", "axis", "budget", "batch", "precision", "threads")}
    kept |= {name: cell["session"].get(name) for name in ("rounds", "repeats")}
    tags = run_tags(plan, "latency", record.identity, task=cell["task"], budget=cell["budget"])
    return Content(
        name=f"latency {cell['task']}{budget_suffix(plan, cell['budget'])}",
        status="FINISHED" if record.settled else "FAILED",
        times=spent,
        tags=tags | status_tags(record),
        params=texts_of(kept) | provenance_params(record),
        metrics={
            f"{name}/{each['row']}": value
            for identity, each in finalists.items()
            for name, value in measured[identity].items()
        },
        curves=tuple(
            Point(f"rounds/{name}/{each['row']}", index + 1, value, spent.ended)
            for each in finalists.values()
            for name, values in _rounds(each).items()
            for index, value in enumerate(values)
        ),
        texts={"record.json": record.model_dump_json(indent=1) + "\n"},
    )
