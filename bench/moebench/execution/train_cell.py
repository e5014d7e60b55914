"""Run one trial or final: build, train, score, and write the record."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from moebench import machine
from moebench.execution.job import Job
from moebench.execution.memory import PeakMemory
from moebench.execution.model import build
from moebench.execution.statuses import status_of
from moebench.hosts.host import Host
from moebench.runs import Cell, Record, Status, Store
from moebench.runs.store import write_atomic
from moebench.scores.final import Scores, final_scores, validation_scores
from moebench.tasks import Split, get_task
from moebench.training.device import device_name
from moebench.training.loop import Curves, Recipe, train


def run_training(job: Job) -> Record:
    """The record of a trial or final, whatever happens in it; written to the job's results before it returns."""
    started, clock = datetime.now(UTC), time.perf_counter()
    device = torch.device(job.device)
    torch.set_num_threads(job.cell.threads)
    store = Store(job.results)
    try:
        body = _train_and_score(job, device, store)
    except Exception as error:
        status, reason = status_of(error)
        body = {"status": status, "reason": reason}
    record = Record(
        identity=job.cell.identity,
        cell=job.cell.to_json(),
        provenance=provenance(job, device_name(device), started, time.perf_counter() - clock),
        **body,
    )
    store.put(record)
    return record


def provenance(job: Job, device: str, started: datetime, seconds: float) -> dict[str, Any]:
    """What may differ between two runs of one cell."""
    return {
        "device": device,
        "device_type": torch.device(job.device).type,
        "versions": machine.versions(),
        "backend": job.backend or "auto",
        "suite": job.suite,
        "row": job.row,
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "machine": machine.cpu_model(),
    }


def _train_and_score(job: Job, device: torch.device, store: Store) -> dict[str, Any]:
    cell = job.cell
    task = get_task(cell.task)
    with PeakMemory(device) as memory:
        built = build(job, device)
        # Only a final run ever loads test data: what tunes cannot see it.
        data = {part: _on(task.load(part, job.data), device) for part in ("train", "validation")}
        clock = time.perf_counter()
        curves = train(built.model, data["train"], recipe(cell, task.augment))
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds = time.perf_counter() - clock
    trained = len(curves.loss_S) * cell.batch
    details = {
        "train_seconds": round(seconds, 3),
        "inputs_per_second": round(trained / seconds, 1),
        "peak_memory_mib": None if memory.mib is None else round(memory.mib, 1),
    }
    arrays = {"loss_S": curves.loss_S, "mass_SLE": curves.mass_SLE}
    status, scores = _scored(job, built.model, data, curves, device)
    store.put_arrays(cell.identity, arrays | scores.arrays)
    if job.save_weights and cell.kind == "final":
        _save_weights(built.model, store, cell)
    reason = "the loss or the outputs were not finite." if status == "diverged" else ""
    return {
        "status": status,
        "reason": reason,
        "scores": scores.values,
        "reasons": scores.reasons,
        "counts": built.counts,
        "details": details,
    }


def _scored(
    job: Job, model: Host, data: dict[str, Split], curves: Curves, device: torch.device
) -> tuple[Status, Scores]:
    if not curves.finite:
        return "diverged", Scores()
    precision = job.cell.precision
    if job.cell.kind == "trial":
        scores, _ = validation_scores(model, data["validation"], precision)
    else:
        test = _on(get_task(job.cell.task).load("test", job.data), device)
        scores = final_scores(model, data["validation"], test, precision)
    if not all(np.isfinite(value) for value in scores.values.values() if value is not None):
        return "diverged", Scores()
    return "done", scores


def recipe(cell: Cell, augment: str | None) -> Recipe:
    """How the cell is trained."""
    return Recipe(
        steps=cell.steps,
        batch=cell.batch,
        micro_batch=cell.micro_batch,
        lr=cell.settings["lr"],
        weight_decay=cell.settings["weight_decay"],
        loss_weights={
            name.removeprefix("loss/"): weight for name, weight in cell.settings.items() if name.startswith("loss/")
        },
        precision=cell.precision,
        augment=augment,
        seed=cell.seed,
    )


def _on(split: Split, device: torch.device) -> Split:
    return Split(split.inputs.to(device), split.targets.to(device))


def _save_weights(model: Host, store: Store, cell: Cell) -> None:
    weights = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
    write_atomic(store.weights_path(cell.identity), save(weights))
