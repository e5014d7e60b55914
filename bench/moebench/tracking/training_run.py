"""A trial or a final run as a run in MLflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from moebench.planning.plan import Group, Plan
from moebench.runs import Record, Store
from moebench.tasks import get_task
from moebench.tracking.content import Content, Entry, Point, finite, version_of
from moebench.tracking.labels import (
    data_of,
    provenance_params,
    setting_params,
    status_tags,
    study_name,
    study_params,
    study_tags,
    times,
)

Measured = Mapping[str, Sequence[Record]]
"""Identity of a final run -> what was measured of it."""


def training_entry(
    plan: Plan, group: Group, label: str, record: Record, derived: Sequence[Record], parent: str, store: Store
) -> Entry:
    """The run of a record. label: "trial 2" or "seed 0"; derived: what was measured of it; parent: the key of its
    study.
    """
    return Entry(
        key=f"{group.row}/{record.identity}",
        version=version_of([label, *(each.model_dump(mode="json") for each in (record, *derived))]),
        parent=parent,
        content=lambda: _content(plan, group, label, record, derived, store),
    )


def _content(plan: Plan, group: Group, label: str, record: Record, derived: Sequence[Record], store: Store) -> Content:
    started, ended = times(record)
    fixed = study_params(group.row, record.cell) | {"seed": str(record.cell["seed"])} | provenance_params(record)
    return Content(
        name=f"{study_name(plan, group)} {label}",
        status="FINISHED" if record.settled else "FAILED",
        started=started,
        ended=ended,
        tags=study_tags(plan, group, record.cell["kind"], record.identity) | status_tags(record),
        params=fixed | setting_params(record.cell["settings"], fixed),
        metrics=metrics_of(record, derived),
        curves=curve_points(record, store, started, ended),
        data=data_of(record.cell),
        texts=measured_texts(record, derived),
    )


def metrics_of(record: Record, derived: Sequence[Record]) -> dict[str, float]:
    """Scores and costs of a run, and the scores of what was measured of it, the measure's name before theirs."""
    own = _named(record) if record.cell["kind"] == "derived" else record.scores
    values: dict[str, float | None] = {**own, **run_numbers(record)}
    for each in derived:
        values |= _named(each)
    return finite(values)


def measured_texts(record: Record, derived: Sequence[Record]) -> dict[str, str]:
    """The records themselves, as files."""
    texts = {"record.json": record.model_dump_json(indent=1) + "\n"}
    return texts | {
        f"{each.cell['session']['measure']}.json": each.model_dump_json(indent=1) + "\n" for each in derived
    }


def _named(derived: Record) -> dict[str, float | None]:
    measure = derived.cell["session"]["measure"]
    # MLflow allows no equals sign in the name of a metric.
    return {f"{measure}/{name.replace('=', ' ')}": value for name, value in derived.scores.items()}


def run_numbers(record: Record) -> dict[str, float | None]:
    """Counts and costs of a run that are single numbers: total_params, train_seconds, ..."""
    named: Mapping[str, Any] = {
        **record.counts,
        **record.details,
        "run_seconds": record.provenance.get("seconds"),
    }
    return {name: v for name, v in named.items() if isinstance(v, int | float) and not isinstance(v, bool)}


def curve_points(record: Record, store: Store, started: int, ended: int) -> tuple[Point, ...]:
    """The curves, spread over the time of the run; a damaged sidecar costs the curves, not the run."""
    from moebench.tracking.curves import training_curves

    try:
        curves = training_curves(store.arrays(record.identity), get_task(record.cell["task"]).loss_unit)
    except Exception:  # numpy, zipfile and zlib each have their own for a damaged file
        return ()
    last = max((curve[-1][0] for curve in curves.values()), default=1)
    return tuple(
        Point(name, step, value, started + (ended - started) * step // last)
        for name, curve in curves.items()
        for step, value in curve
    )
