"""One trial or final run: build, train, score, and keep what its record does not hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, overload

import numpy as np
import torch
from safetensors.torch import save

from moebench.execution.job import Job
from moebench.execution.model import build
from moebench.execution.ranks import Agreement, opened
from moebench.hosts.host import Host
from moebench.measure.memory import PeakMemory
from moebench.runs import Cell, Status, Store
from moebench.runs.store import write_atomic
from moebench.scores.final import Scores, final_scores, validation_scores
from moebench.scores.regression import regression_scores
from moebench.scores.sequence import sequence_scores
from moebench.tasks import Split, Stream, Task, get_task
from moebench.training.loop import Curves, Recipe, train
from moebench.training.snapshot import Keeper
from moebench.training.world import World


def train_and_score(job: Job, device: torch.device, store: Store, keeper: Keeper, heard: Agreement) -> dict[str, Any]:
    """The body of the record of a trial or a final run, and where it went on from if it had been interrupted.

    Of several ranks this is the first; ``heard`` is what they hear.
    """
    cell = job.cell
    task = get_task(cell.task)
    with PeakMemory(device) as memory, opened(job, device, heard) as world:
        built = build(job, device)
        train_data = on_device(task.load("train", job.data), device)
        validation = on_device(task.load("validation", job.data), device)
        curves = train(built.model, train_data, recipe(cell, task), keeper, world)
    trained = len(curves.loss_S) * cell.batch
    details = {
        "train_seconds": round(curves.seconds, 3),
        "inputs_per_second": round(trained / curves.seconds, 1),
        "peak_memory_mib": None if memory.mib is None else round(memory.mib, 1),
    }
    arrays = {"loss_S": curves.loss_S, "mass_SLE": curves.mass_SLE}
    status, scores = _scored(job, built.model, validation, curves, device)
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
        **({"resumed": {"step": curves.resumed_at, "seconds": curves.earlier}} if curves.resumed_at else {}),
    }


def train_share(job: Job, device: torch.device, keeper: Keeper, world: World) -> None:
    """What the other ranks do meanwhile."""
    task = get_task(job.cell.task)
    built = build(job, device)
    train(built.model, on_device(task.load("train", job.data), device), recipe(job.cell, task), keeper, world)


def _scored(job: Job, model: Host, validation: Split, curves: Curves, device: torch.device) -> tuple[Status, Scores]:
    if not curves.finite:
        return "diverged", Scores()
    task, precision = get_task(job.cell.task), job.cell.precision
    # Only a final run ever loads test data: what tunes cannot see it.
    test = on_device(task.load("test", job.data), device) if job.cell.kind == "final" else None
    scores = SCORED[task.info.objective](model, validation, test, precision)
    if not all(np.isfinite(value) for value in scores.values.values() if value is not None):
        return "diverged", Scores()
    return "done", scores


def recipe(cell: Cell, task: Task) -> Recipe:
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
        augment=task.augment,
        seed=cell.seed,
        objective=task.info.objective,
        optimiser=cell.optimiser,
    )


@overload
def on_device(data: Split, device: torch.device) -> Split: ...
@overload
def on_device(data: Split | Stream, device: torch.device) -> Split | Stream: ...
def on_device(data: Split | Stream, device: torch.device) -> Split | Stream:
    """The data there; a stream's batches are moved as they come."""
    return data if isinstance(data, Stream) else Split(data.inputs.to(device), data.targets.to(device))


def _class_scores(model: Host, validation: Split, test: Split | None, precision: str) -> Scores:
    if test is None:
        return validation_scores(model, validation, precision)[0]
    return final_scores(model, validation, test, precision)


SCORED: Mapping[str, Callable[[Host, Split, Split | None, str], Scores]] = {
    "classification": _class_scores,
    "sequence": sequence_scores,
    "regression": regression_scores,
}
"""What is scored, by what is learnt."""


def _save_weights(model: Host, store: Store, cell: Cell) -> None:
    weights = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
    write_atomic(store.weights_path(cell.identity), save(weights))
