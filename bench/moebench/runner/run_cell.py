"""Run one cell of any kind in this process, and write its record whatever happens."""

from __future__ import annotations

import contextlib
import time
import traceback
from datetime import UTC, datetime
from typing import Any

import torch

from moebench import machine
from moebench.errors import PluginError, ResultsError
from moebench.frames import frames_of
from moebench.measures import Scores, Subject
from moebench.plugins.find import MEASURES
from moebench.plugins.named import load, remember, without_digest
from moebench.processes import keep_freed_memory
from moebench.records import Record, Store
from moebench.records.store import LARGEST
from moebench.runner.checkpoints import Checkpoints
from moebench.runner.heartbeat import Heartbeat
from moebench.runner.job import Job
from moebench.runner.model import build
from moebench.runner.outcomes import provenance, status_of
from moebench.runner.ranks import Agreement, device_of
from moebench.runner.train_cell import train_and_score
from moebench.runner.weights import load_weights
from moebench.tasks import get_task
from moebench.training.device import device_name, software_of, use


def run_cell(job: Job, heartbeat: Heartbeat | None = None) -> Record:
    """The record of a trial, final or derived cell; written to the job's results before it returns.

    heartbeat: asks it to stop, and shows that it lives. :class:`~moebench.runner.stopping.Stopped` if it was asked to
    stop during training; a checkpoint is then kept, as it is where the run ends with a status that is tried again.
    """
    started, clock = datetime.now(UTC), time.perf_counter()
    remember(job.plugins)
    device, heard = device_of(job), Agreement(heartbeat or Heartbeat())
    torch.set_num_threads(job.cell.threads)
    keep_freed_memory()
    use(device, job.cell.precision, deterministic=job.deterministic)
    store = Store(job.results)
    checkpoints = _checkpoints(job, device, store, heard)
    try:
        if job.cell.kind == "derived":
            body = measure(job, device, store)
        else:
            body = train_and_score(job, device, store, checkpoints, heard)
    except Exception as error:
        status, reason = status_of(error)
        body = {"status": status, "reason": reason, "details": {"frames": frames_of(error)}}
        with contextlib.suppress(Exception):  # an exception may have no text
            traceback.print_exception(error)  # into the log
    resumed = body.pop("resumed", {"seconds": 0.0})
    seconds = max(0.0, time.perf_counter() - clock) + resumed["seconds"]
    noted: dict[str, Any] = {"resumed_at_step": resumed["step"]} if "step" in resumed else {}
    if graphs := body.pop("graphs", ""):
        noted["graphs"] = graphs
    if software := software_of(device):
        noted["device_software"] = software
    if job.ranks > 1 and job.cell.kind != "derived":
        noted["ranks"] = job.ranks
    if checkpoints.set_aside:
        noted["checkpoint"] = checkpoints.set_aside
    record = Record(
        identity=job.cell.identity,
        cell=job.cell.to_json(),
        provenance=provenance(job, device_name(device), started, seconds) | noted,
        **body,
    )
    store.put(record)
    if record.settled:
        checkpoints.remove()
    return record


def _checkpoints(job: Job, device: torch.device, store: Store, heartbeat: Heartbeat) -> Checkpoints:
    how = {"ranks": str(job.ranks)} if job.ranks > 1 else {}
    if job.deterministic:
        how["deterministic"] = "true"  # steps without it are not the ones that it would take
    return Checkpoints(
        path=store.checkpoint_path(job.cell.identity),
        made_by={**machine.versions(), "device": device_name(device), "backend": job.backend or "auto", **how},
        every=job.checkpoint_seconds,
        stopping=heartbeat.stopping,
        alive=heartbeat.alive,
    )


def measure(job: Job, device: torch.device, store: Store) -> dict[str, Any]:
    """The body of a derived cell's record; with the weights of the run that it names, else initial ones."""
    cell = job.cell
    kind, of, takes = cell.session["measure"], cell.session["of"], cell.session["takes"]
    built = build(job, device, store)
    if of and not load_weights(built.model, store, of, device):
        raise ResultsError(
            f"the weights of run {of} were not kept; run it again with --weights.", code="no-weights-kept", run=of
        )
    record = store.get(of) if of else None
    known = record.scores if record is not None else {}
    subject = Subject(built.model.eval(), get_task(cell.task), job.data, device, cell.precision, known, cell.seed)
    scores = load(MEASURES, kind)(subject, **takes)
    if not isinstance(scores, Scores):
        raise PluginError(
            f"measure {without_digest(kind)}: it must return moebench.measures.Scores, not {type(scores).__name__}.",
            code="measure-without-scores",
        )
    for name, value in scores.values.items():
        if value is not None and not (isinstance(value, int | float) and abs(value) <= LARGEST):
            raise PluginError(
                f"measure {without_digest(kind)}: the score '{name}' is {value!r:.40}, not a finite number; put None "
                "with a reason for null.",
                code="score-not-finite",
                score=name,
            )
    if scores.arrays:
        store.put_arrays(cell.identity, scores.arrays)
    return {"status": "done", "scores": scores.values, "reasons": scores.reasons, "counts": built.counts}
