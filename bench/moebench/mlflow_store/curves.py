"""Training curves of a run, thinned for a chart."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from moebench.mlflow_store.content import CurvePoint, Times
from moebench.records import Record, Store
from moebench.tasks import get_task
from moebench.training.curve import THIN, windows

POINTS = 100
"""Maximum per curve: MLflow keeps each point as a row."""

Curve = list[tuple[int, float]]
"""(step, value): the mean over a window, and the last step of the window, counted from 1."""


def curve_points(record: Record, store: Store, times: Times) -> tuple[CurvePoint, ...]:
    """The curves, spread over the time of the run. The thin ones of the record, and in place of its training loss that
    of the sidecar, with the balance of the experts, unless it is damaged.
    """
    unit = get_task(record.cell["task"]).loss_unit
    curves = thin_curves(record, unit)
    with suppress(Exception):  # numpy, zipfile and zlib each have their own for a damaged file
        curves |= training_curves(store.arrays(record.identity), unit)
    last = max((curve[-1][0] for curve in curves.values()), default=1)
    return tuple(
        CurvePoint(name, step, value, times.started + (times.ended - times.started) * step // last)
        for name, curve in curves.items()
        for step, value in curve
    )


def thin_curves(record: Record, unit: str) -> dict[str, Curve]:
    """The curves that the record itself has, by name; none in records older than these."""
    kept = record.details.get("curve", {})
    steps = kept.get("steps", ())
    # Not "validation_loss", which is the score of the trained model on all validation data.
    names = {"train_loss": f"train_loss_{unit}", "validation_loss": f"curve_validation_loss_{unit}"}
    points = {shown: zip(steps, kept.get(name, ()), strict=False) for name, shown in names.items()}
    curves = {name: [(step, value) for step, value in each if value is not None] for name, each in points.items()}
    return {name: curve for name, curve in curves.items() if curve}


def training_curves(arrays: Mapping[str, NDArray[np.floating]], unit: str) -> dict[str, Curve]:
    """Curves by name, from loss_S (in ``unit``) and mass_SLE of a sidecar, without values that are not finite."""
    curves: dict[str, Curve] = {}
    loss_S = arrays.get("loss_S")
    if loss_S is not None and len(loss_S):
        edges = windows(len(loss_S), POINTS)
        sum_W = np.add.reduceat(loss_S.astype(np.float64), edges[:-1])
        curves[f"train_loss_{unit}"] = _curve(edges, sum_W / np.diff(edges))
    mass_SLE = arrays.get("mass_SLE")
    if mass_SLE is not None and mass_SLE.size:
        edges = windows(len(mass_SLE), POINTS)
        mass_WLE = np.add.reduceat(mass_SLE.astype(np.float64), edges[:-1], axis=0)
        if loss_S is not None and len(loss_S) > len(mass_SLE):  # of every so many steps
            edges = np.minimum(edges * THIN, len(loss_S))
        curves |= {name: _curve(edges, value_W) for name, value_W in balance(mass_WLE).items()}
    return {name: curve for name, curve in curves.items() if curve}


def balance(mass_WLE: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """How evenly the mass of each window lies on the experts: means over the layers that have any mass.

    load entropy over log E; share of experts below 0.1 / E of the mass; largest over mean, less 1. NaN without mass.
    """
    experts = mass_WLE.shape[2]
    with np.errstate(invalid="ignore", divide="ignore"):
        share_WLE = mass_WLE / mass_WLE.sum(2, keepdims=True)  # NaN for a layer without mass
        log_WLE = np.log(np.where(share_WLE > 0, share_WLE, 1))
        entropy_WL = -(share_WLE * log_WLE).sum(2) / np.log(experts) if experts > 1 else share_WLE[:, :, 0]
        dead_WL = np.where(np.isnan(share_WLE), np.nan, share_WLE < 0.1 / experts).mean(2)
        return {
            "train_load_entropy": _mean_over_layers(entropy_WL),
            "train_dead_share": _mean_over_layers(dead_WL),
            "train_max_violation": _mean_over_layers(share_WLE.max(2) * experts - 1),
        }


def _mean_over_layers(value_WL: NDArray[np.float64]) -> NDArray[np.float64]:
    finite_WL = np.isfinite(value_WL)
    mean_W: NDArray[np.float64] = np.where(finite_WL, value_WL, 0).sum(1) / finite_WL.sum(1)
    return mean_W


def _curve(edges: NDArray[np.int64], value_W: NDArray[np.float64]) -> Curve:
    pairs = zip(edges[1:].tolist(), value_W.tolist(), strict=True)
    return [(step, value) for step, value in pairs if np.isfinite(value)]
