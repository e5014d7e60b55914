"""A trial or a final run as a run in MLflow, with its curves thinned for a chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moebench.mlflow_store.content import Content, Entry, Point, finite, version_of
from moebench.mlflow_store.labels import (
    data_of,
    provenance_params,
    setting_params,
    status_tags,
    study_name,
    study_params,
    study_tags,
    times,
)
from moebench.plans.plan import Group, Plan
from moebench.records import Record, Store
from moebench.tasks import get_task

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


POINTS = 100
"""At most so many points a curve: MLflow keeps each as a row."""

Curve = list[tuple[int, float]]
"""(step, value); the step is the last of the window that the value is the mean of, counted from 1."""


def training_curves(arrays: Mapping[str, NDArray[np.floating]], unit: str = "nats") -> dict[str, Curve]:
    """Curves by name, from loss_S (in ``unit``) and mass_SLE of a run's sidecar; what is not finite is left out."""
    curves: dict[str, Curve] = {}
    loss_S = arrays.get("loss_S")
    if loss_S is not None and len(loss_S):
        edges = _edges(len(loss_S))
        sum_W = np.add.reduceat(loss_S.astype(np.float64), edges[:-1])
        curves[f"train_loss_{unit}"] = _curve(edges, sum_W / np.diff(edges))
    mass_SLE = arrays.get("mass_SLE")
    if mass_SLE is not None and mass_SLE.size:
        edges = _edges(len(mass_SLE))
        mass_WLE = np.add.reduceat(mass_SLE.astype(np.float64), edges[:-1], axis=0)
        curves |= {name: _curve(edges, value_W) for name, value_W in balance(mass_WLE).items()}
    return {name: curve for name, curve in curves.items() if curve}


def balance(mass_WLE: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """How evenly the mass of each window lies on the experts: means over the layers that have any mass.

    load entropy over log E; share of experts below 0.1 / E of the mass; largest over mean, less 1. NaN
    without mass. All layers have the same experts, for a setting is the same in all.
    """
    experts = mass_WLE.shape[2]
    total_WL1 = mass_WLE.sum(2, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        share_WLE = np.where(total_WL1 > 0, mass_WLE / total_WL1, np.nan)
        log_WLE = np.log(np.where(share_WLE > 0, share_WLE, 1))
        entropy_WL = -(share_WLE * log_WLE).sum(2) / np.log(experts) if experts > 1 else share_WLE[:, :, 0]
        dead_WL = np.where(np.isnan(share_WLE), np.nan, share_WLE < 0.1 / experts).mean(2)
        values = {
            "train_load_entropy": entropy_WL,
            "train_dead_share": dead_WL,
            "train_max_violation": share_WLE.max(2) * experts - 1,
        }
        return {name: _mean_over_layers(value_WL) for name, value_WL in values.items()}


def _mean_over_layers(value_WL: NDArray[np.float64]) -> NDArray[np.float64]:
    seen_WL = np.isfinite(value_WL)
    mean_W: NDArray[np.float64] = np.where(seen_WL, value_WL, 0).sum(1) / seen_WL.sum(1)
    return mean_W


def _edges(steps: int) -> NDArray[np.int64]:
    """Where the windows begin and end: equal up to one step, and at most POINTS of them."""
    return np.linspace(0, steps, min(POINTS, steps) + 1).round().astype(np.int64)


def _curve(edges: NDArray[np.int64], value_W: NDArray[np.float64]) -> Curve:
    pairs = zip(edges[1:].tolist(), value_W.tolist(), strict=True)
    return [(step, value) for step, value in pairs if np.isfinite(value)]
