"""Counts of every record against those of a model that is built here from its cell."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from moebench.errors import MoebenchError
from moebench.execution.job import Job
from moebench.published.submission import Submission
from moebench.runs import Cell, Record
from moebench.runs.canonical import canonical_json
from moebench.tuning.ask import SHARED

Counts = dict[str, Any]


def check(submission: Submission) -> Iterator[str]:
    """Each size of each variant is built once; every record that claims it must have its counts."""
    built: dict[str, Counts | str] = {}
    for group, record in submission.trained():
        key = _built_alike(record)
        if key not in built:
            built[key] = _counted(submission, group.row, record)
        counted = built[key]
        if isinstance(counted, str):
            yield f"record {record.identity}: {counted}"
        elif counted != record.counts:
            name = min(n for n in counted | record.counts if counted.get(n) != record.counts.get(n))
            told, found = record.counts.get(name), counted.get(name)
            yield f"record {record.identity}: {name} is {told}, and the model that is built here has {found}."


def _built_alike(record: Record) -> str:
    cell = record.cell
    own = {name: value for name, value in cell["settings"].items() if name not in SHARED}
    return canonical_json([cell["variant"], cell["task"], cell["host"], cell["axis"], cell["budget"], own])


def _counted(submission: Submission, row: str, record: Record) -> Counts | str:
    """The counts, or why they cannot be made."""
    import torch

    from moebench.execution.model import build

    job = Job(
        cell=Cell.from_json(record.cell),
        row=row,
        spec=submission.spec(row),
        label=row,
        suite=submission.plan.suite.name,
        results=Path(),
        data=submission.data,
        device="cpu",
        backend=None,
        save_weights=False,
    )
    try:
        counts: Counts = json.loads(json.dumps(build(job, torch.device("cpu")).counts))
    except MoebenchError as error:
        return str(error)
    except Exception as error:  # a plug-in's own
        return f"'{row}' cannot be built: {type(error).__name__}: {error}"
    return counts
