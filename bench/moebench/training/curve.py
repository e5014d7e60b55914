"""The thin curve of a training that its record keeps: mean training loss, and validation loss, at a few steps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

POINTS = 20
"""Maximum of a record's curve."""

DIGITS = 6
"""Significant digits of a loss in a record."""

THIN = 20
"""Steps between two of which a thin sidecar keeps the load of experts."""

MOST_WATCHED = 1024
"""Validation inputs at a point, at most."""

WATCHED_SHARE = 1 / 250
"""Validation inputs at a point, as a share of the inputs of the whole training: 20 forward passes over them are 8 % of
as many inputs, and a training step costs three forward passes, so that the curve costs about 3 % of a run."""


def windows(steps: int, points: int) -> NDArray[np.int64]:
    """Where at most ``points`` windows begin and end; their lengths differ by at most one step."""
    return np.linspace(0, steps, min(points, steps) + 1).round().astype(np.int64)


def watched_inputs(inputs: int, steps: int, batch: int) -> int:
    """How many of so many validation inputs are looked at, at each point."""
    return max(1, min(inputs, MOST_WATCHED, int(steps * batch * WATCHED_SHARE)))


def thin_curve(
    loss_S: NDArray[np.floating[Any]], validation_S: NDArray[np.floating[Any]] | None, steps: int
) -> dict[str, list[Any]]:
    """The curve of a record, from the losses of each step: see ``docs/records.md``.

    validation_S: NaN where it was not measured. steps: planned; training may have ended before.
    """
    ends = [int(end) for end in windows(steps, POINTS)[1:] if end <= len(loss_S)]
    starts = [0, *ends]
    curve: dict[str, list[Any]] = {
        "steps": ends,
        "train_loss": [_rounded(loss_S[a:b].astype(np.float64).mean()) for a, b in zip(starts, ends, strict=False)],
    }
    if validation_S is not None:
        curve["validation_loss"] = [_rounded(validation_S[end - 1]) for end in ends]
    return curve


def thin_mass(mass_SLE: NDArray[np.floating[Any]]) -> NDArray[np.float16]:
    """The share of each expert in its layer's mass at every 20th step; zeros for a layer without mass."""
    kept_SLE = mass_SLE[::THIN].astype(np.float64)
    whole_SL1 = kept_SLE.sum(2, keepdims=True)
    return (kept_SLE / np.where(whole_SL1 > 0, whole_SL1, 1)).astype(np.float16)


def _rounded(value: Any) -> float | None:
    return float(f"{float(value):.{DIGITS}g}") if math.isfinite(value) else None
