"""One trial or final run: build, train, score, and keep what its record does not hold."""

from __future__ import annotations

from typing import Any

import torch

from moebench.contract.variant import loss_weights
from moebench.hosts.host import Host
from moebench.measures.audit import Audit
from moebench.measures.memory import PeakMemory
from moebench.measures.scores.final import Scores, scores_of
from moebench.measures.scores.route_map import route_map
from moebench.measures.scores.tokens import saturation
from moebench.plugins.surroundings import Surroundings
from moebench.records import Cell, Status, Store
from moebench.records.store import LARGEST
from moebench.runner.job import Job
from moebench.runner.model import BuiltModel, build
from moebench.runner.ranks import Agreement, opened
from moebench.runner.weights import answers, save_weights
from moebench.tasks import Split, Table, Task, Tokens, get_task, load_part
from moebench.training.curve import thin_curve, thin_mass, watched_inputs
from moebench.training.evaluate import mean_loss
from moebench.training.graphs import CudaBackend, why_not
from moebench.training.loop import Curves, Watch, train
from moebench.training.ranks.world import World
from moebench.training.recipe import Recipe
from moebench.training.routes import RouteWatch
from moebench.training.snapshot import Keeper
from moebench.training.token_counts import show_token_counts

LEAST_SECONDS = 1e-6
"""A clock that was set back during a run has measured nothing."""


def train_and_score(job: Job, device: torch.device, store: Store, keeper: Keeper, heard: Agreement) -> dict[str, Any]:
    """The body of the record of a trial or a final run, and where it resumed if it had been interrupted.

    This is the first of the ranks; ``heard`` stops them all.
    """
    cell = job.cell
    task = get_task(cell.task)
    around = Surroundings()
    with PeakMemory(device) as memory, opened(job, device, heard) as world:
        built = build(job, device, store)
        train_data = load_part(task, "train", job.data).to(device)
        validation = load_part(task, "validation", job.data).to(device).sealed()
        show_token_counts(built.model, task.info, train_data)
        watch = _watch(built.model, task, validation, cell) if cell.kind == "final" else None
        routes = _routes(job, built.model, validation)
        how = recipe(cell, task)
        ungraphed = why_not(train_data, how, world, device) if job.graphs else ""
        backend = CudaBackend(device) if job.graphs and not ungraphed else None
        curves = train(built.model, train_data, how, task.loss, keeper, world, watch, routes, backend)
    trained = len(curves.loss_S) * cell.batch
    if curves.acted_SL is not None:
        built.count_choices(curves.acted_SL, trained)
    details = {
        "train_seconds": round(curves.seconds, 3),
        "inputs_per_second": round(trained / max(curves.seconds, LEAST_SECONDS), 1),
        "peak_memory_mib": None if memory.mib is None else round(memory.mib, 1),
        "train_inputs": len(train_data) if isinstance(train_data, Split) else None,
        "curve": thin_curve(curves.loss_S, curves.validation_S, cell.steps),
    }
    arrays = {"loss_S": curves.loss_S}
    if not job.thin:
        arrays["mass_SLE"] = curves.mass_SLE
    elif cell.kind == "final":
        arrays["mass_SLE"] = thin_mass(curves.mass_SLE)
    status, scores = _scored(job, built, validation, curves, device, around)
    if status == "done" and cell.kind == "final":
        shown = route_map(built.model, task, validation, cell.precision)
        details |= {"routes": shown} if shown else {}
    if status == "done" and routes is not None:
        scores.values |= saturation(routes)
    unkept = ""
    if job.save_weights and cell.kind == "final":
        if status == "done":
            arrays |= answers(built.model, validation, cell.precision)
        unkept = save_weights(built.model, store, cell.identity)
    store.put_arrays(cell.identity, arrays | scores.arrays)
    reason = "the loss or the outputs were not finite." if status == "diverged" else ""
    return {
        "status": status,
        "reason": reason,
        "scores": scores.values,
        "reasons": scores.reasons,
        "counts": built.counts,
        "audit": scores.audit,
        "details": details | ({"weights": unkept} if unkept else {}),
        **({"graphs": ungraphed or curves.graphs} if job.graphs else {}),
        **({"resumed": {"step": curves.resumed_at, "seconds": curves.earlier}} if curves.resumed_at else {}),
    }


def train_share(job: Job, device: torch.device, keeper: Keeper, world: World) -> None:
    """What the other ranks do."""
    task = get_task(job.cell.task)
    built = build(job, device)
    data = load_part(task, "train", job.data).to(device)
    show_token_counts(built.model, task.info, data)
    routes = _routes(job, built.model, load_part(task, "validation", job.data).to(device))
    train(built.model, data, recipe(job.cell, task), task.loss, keeper, world, routes=routes)


def _routes(job: Job, model: Host, validation: Split) -> RouteWatch | None:
    """Of a final run that takes steps."""
    cell = job.cell
    return RouteWatch(model, validation, cell.steps, cell.precision) if cell.kind == "final" and cell.steps else None


def _watch(model: Host, task: Task, validation: Split, cell: Cell) -> Watch:
    """The loss on a fixed part of the validation data, whose inputs lie evenly in its order."""
    count = watched_inputs(len(validation), cell.steps, cell.batch)
    places = torch.arange(count, device=validation.inputs.device) * len(validation) // count
    part = validation[places]
    return lambda: mean_loss(model, task, part, precision=cell.precision)


def _scored(
    job: Job, built: BuiltModel, validation: Split, curves: Curves, device: torch.device, around: Surroundings
) -> tuple[Status, Scores]:
    if not curves.finite:
        return "diverged", Scores()
    task, precision, audit, test = get_task(job.cell.task), job.cell.precision, None, None
    if job.cell.kind == "final":  # only it loads test data: tuning never sees it
        test = load_part(task, "test", job.data).to(device).sealed()
        audit = Audit(
            built.model,
            built.counts,
            ordered=_ordered(built, task),
            codes=_codes(task),
            precision=precision,
            backend=job.backend,
            seed=job.cell.seed,
            around=around,
        )
    scores = scores_of(built.model, task, validation, test, precision, audit)
    if not all(abs(value) <= LARGEST for value in scores.values.values() if value is not None):  # NaN is not
        return "diverged", Scores()
    return "done", scores


def _codes(task: Task) -> int:
    """How many columns of an input are codes of categories."""
    return len(task.info.inputs.categories) if isinstance(task.info.inputs, Table) else 0


def _ordered(built: BuiltModel, task: Task) -> int:
    """Tokens of an input that are answered in order, in a causal host; else 0."""
    causal = all(shape["causal"] for shape in built.counts["layers"])
    return task.info.inputs.answer if causal and isinstance(task.info.inputs, Tokens) else 0


def recipe(cell: Cell, task: Task) -> Recipe:
    """How the cell is trained."""
    return Recipe(
        steps=cell.steps,
        batch=cell.batch,
        micro_batch=cell.micro_batch,
        lr=cell.settings["lr"],
        weight_decay=cell.settings["weight_decay"],
        loss_weights=loss_weights(cell.settings),
        precision=cell.precision,
        augment=task.augment,
        seed=cell.seed,
        optimiser=cell.optimiser,
    )
