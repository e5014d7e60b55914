"""The works of rows with fixed settings, a final for every combination and seed; and the measures of all finals."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from typing import Any

from moebench.apart import ApartError, apart
from moebench.budgets import Axis, Budget, count_layers, settle
from moebench.budgets.count import build_on_meta
from moebench.budgets.place import check_claims, try_claims
from moebench.contract import LayerShape, Settings, Variant
from moebench.errors import BudgetError, HostError, MoebenchError, PluginError, SuiteError
from moebench.frames import raised
from moebench.hosts import host_settings, layer_shapes
from moebench.plans.plan import Work, mean_tokens
from moebench.plugins.find import COMPRESSORS, MEASURES, find_variant
from moebench.plugins.identity import code_identity
from moebench.plugins.imports import is_own
from moebench.plugins.load import load_variant
from moebench.plugins.named import load, remember, without_digest
from moebench.protocol import PROTOCOL
from moebench.records import Cell
from moebench.suites import Suite, TaskEntry
from moebench.suites.request import Request, digest_of
from moebench.suites.schema import SuiteMeasure, SuiteRow
from moebench.tasks import get_task
from moebench.training.device import DeviceInfo, default_precision
from moebench.training.seeds import derive_seed


def fixed_works(request: Request, place: DeviceInfo) -> tuple[Work, ...]:
    """The finals of every fixed row; :class:`SuiteError` where one cannot be built."""
    suite, works = request.suite, list[Work]()
    for row in suite.row:
        try:
            works += _works_of(request, row, default_precision(place.type))
        except (BudgetError, HostError, SuiteError) as error:
            raise SuiteError(f"suite '{suite.name}', row '{row.name}': {error}", code="row-invalid") from error
    # Seed by seed over all rows, so that what is there when a run is stopped can be compared.
    return tuple(sorted(works, key=lambda work: work.index))


def _works_of(request: Request, row: SuiteRow, precision: str) -> Iterator[Work]:
    """The finals of a row; of another author's variant from a process of its own."""
    found = find_variant(row.variant)
    if is_own(found):
        for entry in request.suite.entries_of(row):
            yield from _works(request, row, entry, precision)
        return
    row = row.model_copy(update={"variant": found.spec})  # with its whole path: that process stands elsewhere
    try:
        yield from map(Work.from_json, apart(_plain_works, request, row, precision))
    except ApartError as error:
        raise SuiteError(f"importing or building {row.variant} {error}.", code="row-not-planned") from None


def _plain_works(request: Request, row: SuiteRow, precision: str) -> Iterator[dict[str, Any]]:
    """The body of that process."""
    remember(request.suite.plugins)
    for entry in request.suite.entries_of(row):
        yield from (dataclasses.asdict(work) for work in _works(request, row, entry, precision))


def planned_measures(request: Request, place: DeviceInfo) -> dict[str, dict[str, Any]]:
    """What identifies each of the suite's measures, by name.

    :class:`UnknownNameError` or :class:`SuiteError` for one that cannot be made as it is.
    """
    # Times belong to a machine, its software and a backend, as those of a latency session do.
    where = {"device": place.name, "versions": place.versions, "backend": request.backend or "auto"}
    return {each.name: _session(request.suite, each, where if each.alone else {}) for each in request.suite.measure}


def _session(suite: Suite, measure: SuiteMeasure, where: dict[str, Any]) -> dict[str, Any]:
    said = f"suite '{suite.name}', measure '{measure.name}'"
    measured = load(MEASURES, measure.kind)
    if not callable(measured):
        raise PluginError(f"{said}: '{without_digest(measure.kind)}' is no function of a subject.", code="no-measure")
    try:
        inspect.signature(measured).bind(None, **measure.takes)
    except TypeError as error:
        takes = ", ".join(list(inspect.signature(measured).parameters)[1:]) or "nothing"
        raise SuiteError(f"{said}: {error}; it takes: {takes}.", code="measure-takes") from error
    session = {"measure": measure.kind, "takes": measure.takes, **where}
    if methods := getattr(measured, "compressors", lambda takes: ())(measure.takes):
        session["code"] = {name: code_identity(COMPRESSORS.find(name)) for name in methods}
    return session


def _works(request: Request, row: SuiteRow, entry: TaskEntry, precision: str) -> Iterator[Work]:
    """The finals of a row on one task, seed by seed."""
    suite, found = request.suite, find_variant(row.variant)
    variant, task, host = load_variant(found), get_task(entry.name), host_settings(suite.host_of(entry, row))
    if row.trained and task.info.headline is None:
        raise SuiteError(
            f"task '{entry.name}' has nothing to learn; set trained = false to time its layers.",
            code="nothing-to-learn",
        )
    shapes, training = layer_shapes(host, task.info), suite.training_of(entry, row)
    tokens = mean_tokens(shapes)
    template: dict[str, Any] = {
        "protocol": PROTOCOL,
        "task": entry.name,
        "data_digest": digest_of(task, request),
        "split": task.split,
        "host": host.model_dump(mode="json"),
        "variant": variant.name,
        "code_digest": code_identity(found),
        "steps": training.steps if row.trained else 0,
        "batch": training.batch,
        "micro_batch": training.micro_batch,
        "precision": precision if training.precision == "auto" else training.precision,
        "threads": training.threads,
        "optimiser": training.optimiser,
    }
    shared = {"lr": training.lr, "weight_decay": training.weight_decay or 0.0}
    planned = [
        (_label(suite, row, entry, amount, chosen), chosen, *_size(suite, row, variant, shapes, amount, chosen))
        for amount in _budgets(suite, row)
        for chosen in row.combinations(full=request.full)
    ]
    for index in range(suite.seeds):
        for label, chosen, axis, budget in planned:
            cell = Cell(
                kind="final",
                settings={**row.settings, **chosen, **shared},
                axis=axis,
                budget=budget,
                seed=derive_seed(without_digest(entry.name), "final", index),
                **template,
            )
            seed_label = f"{label} seed {index}"
            yield Work(cell, label, found.spec, index, seed_label, entry=row.name, ranked=False, tokens=tokens)


def _budgets(suite: Suite, row: SuiteRow) -> list[int | None]:
    """The row's own, those of the suite, or None where its width decides."""
    if row.width is not None or row.expert_width is not None:
        return [None]
    return [row.budget] if row.budget is not None else [*suite.budgets]


def _label(suite: Suite, row: SuiteRow, entry: TaskEntry, amount: int | None, chosen: Settings) -> str:
    """The row's name, and what of task, budget and settings it has several of."""
    task = [without_digest(entry.name)] if len(suite.entries_of(row)) > 1 else []
    budget = [f"{amount:,}"] if len(_budgets(suite, row)) > 1 else []
    return " ".join([row.name, *task, *budget, *(f"{name}={value}" for name, value in chosen.items())])


def _size(
    suite: Suite, row: SuiteRow, variant: Variant, shapes: tuple[LayerShape, ...], amount: int | None, chosen: Settings
) -> tuple[Axis, int]:
    """Axis and budget of the cell: an amount that its layers can have, or what layers of the row's width hold."""
    settings = {**row.settings, **chosen}
    try:
        if amount is not None:
            axis = row.axis or suite.axis
            settle(variant, Budget(axis, amount, shapes), settings)
            return axis, amount
        width = _width_of_one(row, settings)
        check_claims(variant, shapes[0])
        try_claims(variant, shapes[0], width, settings)
        layers = [build_on_meta(variant, shape, width, settings) for shape in shapes]
    except MoebenchError:
        raise
    except Exception as error:
        raise SuiteError(
            f"{variant.name} cannot be built with {settings}: {raised(error)}", code="row-not-built"
        ) from error
    return "total", count_layers(layers).total


def _width_of_one(row: SuiteRow, settings: Settings) -> int:
    """H, the hidden units of one expert: as the row says, or when all of them together have its width."""
    if row.expert_width is not None:
        return row.expert_width
    assert row.width is not None
    experts = settings.get("experts", 1)
    if not isinstance(experts, int) or experts < 1:
        raise SuiteError(f"experts must be a number of at least 1, not {experts}.", code="experts-not-a-number")
    if row.width % experts:
        raise SuiteError(f"{experts} experts cannot share a width of {row.width} evenly.", code="width-not-shared")
    return row.width // experts
