"""Where each kind of score can lie: the ends of docs/records.md's definitions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import inf, isfinite, log

Scores = Mapping[str, float | None]

RANGES: Mapping[str, tuple[float, float]] = {
    "accuracy": (0, 1),
    "mass_kept": (0, 1),
    "dead_share": (0, 1),
    "load_entropy": (0, 1),
    "token_coverage": (0, 1),
    "drop_rate": (0, 1),
    "output_cosine": (-1, 1),
    "class_information": (-1, 1),
    "retained": (0, inf),
    "max_violation": (0, inf),
    "loss": (0, inf),
    "mse": (0, inf),
}
"""By a part of the name; both ends are possible."""

ROUNDING = 1e-5
"""Means in float32 end so near to an end, on either side."""


def outside(scores: Scores) -> Iterator[str]:
    """A sentence for each score that no run can have."""
    for name, value in scores.items():
        low, high = next((ends for part, ends in RANGES.items() if part in name), (-inf, inf))
        if value is None:
            continue
        if not isfinite(value):
            yield f"{name} is {value}."
        elif not low - ROUNDING <= value <= high + ROUNDING:
            ends = f"is not below {low:g}" if high == inf else f"lies between {low:g} and {high:g}"
            yield f"{name} is {value:g}, and such a score {ends}."


def too_sure(scores: Scores) -> Iterator[str]:
    """A loss that a classifier with that accuracy cannot have: of what is wrong, another class has at least half."""
    for part in ("validation", "test"):
        accuracy, loss = scores.get(f"{part}_accuracy"), scores.get(f"{part}_loss_nats")
        if accuracy is not None and loss is not None and loss < (least := (1 - accuracy) * log(2)) - ROUNDING:
            yield f"{part}_loss_nats is {loss:g}, and with accuracy {accuracy:g} it is at least {least:g}."
