"""An accuracy is a number of right answers among those that the data have: other values are nobody's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Literal

from moebench.errors import MoebenchError
from moebench.runs import Record

PARTS: Mapping[str, Literal["validation", "test"]] = {"validation_accuracy": "validation", "accuracy": "test"}
"""Which part of the data an accuracy is of, by how its name begins or what it holds; the first that fits."""

FLOAT32 = 1e-6
"""By how much a mean in float32 may miss a share."""


def wrong_shares(record: Record, data: Path | None) -> Iterator[str]:
    """A sentence for each accuracy that no number of right answers gives; nothing where the data are not here."""
    inputs = inputs_of(record.cell["task"], data)
    for name, told in record.scores.items():
        part = next((part for mark, part in PARTS.items() if mark in name), None)
        if told is None or part is None or part not in inputs:
            continue
        count = inputs[part] * (_draws() if "random" in name else 1)
        if abs(told - round(told * count) / count) > FLOAT32:
            yield f"{name} is {told:.6g}, and no number of right answers among {count:,} gives that."


def _draws() -> int:
    """Random subsets that an accuracy is the mean of."""
    from moebench.subset.scores import RANDOM_DRAWS

    return RANDOM_DRAWS


@cache
def inputs_of(task: str, data: Path | None) -> Mapping[str, int]:
    """Part of the data -> how many answers it asks for, one for each input and target; empty for a task without
    accuracies, or without its data here.
    """
    from moebench.tasks import get_task

    try:
        found = get_task(task)
        if found.info.ranked_by.name != "accuracy":
            return {}
        return {part: len(found.load(part, data)) * len(found.info.targets) for part in dict.fromkeys(PARTS.values())}
    except MoebenchError:
        return {}
