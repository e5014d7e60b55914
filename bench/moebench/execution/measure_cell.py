"""One derived cell: the trained model again, and one measure of it."""

from __future__ import annotations

from typing import Any

import torch

from moebench.derived import MEASURES, Subject
from moebench.errors import ResultsError
from moebench.execution.job import Job
from moebench.execution.model import build, load_weights
from moebench.runs import Store
from moebench.tasks import get_task


def measure(job: Job, device: torch.device, store: Store) -> dict[str, Any]:
    """The body of a derived cell's record; the weights are those of the run it is derived from, if it names one."""
    cell = job.cell
    kind, of, takes = cell.session["measure"], cell.session["of"], cell.session["takes"]
    built = build(job, device)
    if of and not load_weights(built.model, store, of, device):
        raise ResultsError(f"the weights of run {of} were not kept; run it again with --weights.")
    record = store.get(of) if of else None
    known = record.scores if record is not None else {}
    subject = Subject(built.model.eval(), get_task(cell.task), job.data, device, cell.precision, known, cell.seed)
    scores = MEASURES[kind](subject, **takes)
    if scores.arrays:
        store.put_arrays(cell.identity, scores.arrays)
    return {
        "status": "done",
        "scores": scores.values,
        "reasons": scores.reasons,
        "counts": built.counts,
    }
