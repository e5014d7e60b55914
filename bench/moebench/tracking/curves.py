"""Curves of a training run, thinned for a chart."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

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
