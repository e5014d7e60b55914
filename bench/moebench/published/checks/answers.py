"""An accuracy is a number of right answers among those that the data have: other values are nobody's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Literal

from moebench.errors import MoebenchError
from moebench.runs import Record

PARTS: Mapping[str, Literal["validation", "test"]] = {"validation_accuracy": "validation", "test_accuracy": "test"}

FLOAT32 = 1e-6
"""By how much a mean in float32 may miss a share."""


def wrong_shares(record: Record, data: Path | None) -> Iterator[str]:
    """A sentence for each accuracy that no number of right answers gives; nothing where the data are not here."""
    inputs = _inputs(record.cell["task"], data)
    for name, count in inputs.items():
        told = record.scores.get(name)
        if told is not None and abs(told - round(told * count) / count) > FLOAT32:
            yield f"{name} is {told:.6g}, and no number of right answers among {count:,} gives that."


@cache
def _inputs(task: str, data: Path | None) -> Mapping[str, int]:
    """Score -> how many inputs it is a share of; empty for a task without accuracies."""
    from moebench.tasks import get_task

    try:
        found = get_task(task)
        if found.info.metric != "accuracy":
            return {}
        return {name: len(found.load(part, data).targets) for name, part in PARTS.items()}
    except MoebenchError:
        return {}
