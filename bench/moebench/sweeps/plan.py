"""The cells of a sweep: a final run for every combination and seed, and the measures derived from it."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moebench.budgets import count_layers, settle
from moebench.budgets.budget import Budget
from moebench.budgets.count import build_on_meta
from moebench.budgets.place import check_claims, try_claims
from moebench.contract import LayerShape, Settings, Variant
from moebench.derived import MEASURES, rests_on
from moebench.errors import BudgetError, HostError, MoebenchError, SuiteError
from moebench.hosts import host_settings, layer_shapes
from moebench.planning.place import Place, here
from moebench.planning.plan import Lookup, Work
from moebench.plugins.find import find_variant
from moebench.plugins.identity import code_identity
from moebench.plugins.load import load_variant
from moebench.protocol import PROTOCOL
from moebench.runs import Cell
from moebench.suites.sweep import Arm, Measure, Sweep
from moebench.tasks import get_task
from moebench.training.device import default_precision
from moebench.training.seeds import derive_seed


@dataclass(frozen=True, kw_only=True)
class SweepPlan:
    """Everything that a run of a sweep is made of.

    full: which form. finals, derived, alone: the work, in the order of running.
    """

    sweep: Sweep
    full: bool
    device: dict[str, str]
    backend: str | None
    data: Path | None
    finals: tuple[Work, ...]
    derived: tuple[Work, ...]
    alone: tuple[Work, ...]

    @property
    def works(self) -> tuple[Work, ...]:
        """All of them."""
        return (*self.finals, *self.derived, *self.alone)

    def ready(self, lookup: Lookup) -> Iterator[Work]:
        """Training, and what can be derived from runs that are done."""
        yield from self.finals
        yield from (work for work in self.derived if is_ready(work, lookup))


def is_ready(work: Work, lookup: Lookup) -> bool:
    """Whether the run that a measure is derived from is done; one without such a run always is."""
    of = work.cell.session["of"]
    record = lookup(of) if of else None
    return not of or (record is not None and record.status == "done")


def plan_sweep(
    sweep: Sweep,
    *,
    full: bool,
    seeds: int | None = None,
    device: str | None = None,
    backend: str | None = None,
    data: Path | None = None,
    place: Place | None = None,
) -> SweepPlan:
    """The plan of a sweep in its full or reduced form; :class:`SuiteError` where an arm cannot be built.

    seeds: instead of the form's. place: where it is to run, if that is not this machine's ``device``.
    """
    place = place or here(device)
    count = seeds or (sweep.full_seeds if full else sweep.seeds)
    _check_takes(sweep)
    # Times belong to a machine, its software and a backend, as those of a latency session do.
    where = {"device": place.name, "versions": place.versions, "backend": backend or "auto"}
    finals: list[Work] = []
    measures: list[tuple[Measure, Work]] = []
    for arm in sweep.arm:
        try:
            planned = list(_arm(sweep, arm, full, count, default_precision(place.type), data, where))
        except (BudgetError, HostError, SuiteError) as error:
            raise SuiteError(f"suite '{sweep.name}', arm '{arm.name}': {error}") from error
        for final, derived in planned:
            if arm.trained:
                finals.append(final)
            measures += derived
    # Seed by seed over all arms, so that what is there when a run is stopped can be compared.
    finals.sort(key=lambda work: work.index)
    measures.sort(key=lambda each: each[1].index)
    return SweepPlan(
        sweep=sweep,
        full=full,
        device=place.as_device(),
        backend=backend,
        data=data,
        finals=tuple(finals),
        derived=tuple(work for measure, work in measures if not measure.alone),
        alone=tuple(work for measure, work in measures if measure.alone),
    )


def _arm(
    sweep: Sweep, arm: Arm, full: bool, seeds: int, precision: str, data: Path | None, where: Mapping[str, Any]
) -> Iterator[tuple[Work, list[tuple[Measure, Work]]]]:
    """(final run, its measures) for every combination and seed, seed by seed."""
    found = find_variant(arm.variant)
    variant, task, host = load_variant(found), get_task(arm.task), host_settings(arm.host)
    if arm.trained and task.info.headline is None:
        raise SuiteError(f"task '{arm.task}' has nothing to learn; set trained = false to time its layers.")
    shapes, training = layer_shapes(host, task.info), sweep.training_of(arm)
    template: dict[str, Any] = {
        "protocol": PROTOCOL,
        "task": arm.task,
        "data_digest": task.digest(data),
        "split": task.split,
        "host": host.model_dump(mode="json"),
        "variant": variant.name,
        "code_digest": code_identity(found),
        "axis": arm.axis,
        "steps": training.steps if arm.trained else 0,
        "batch": training.batch,
        "micro_batch": None,
        "precision": precision if training.precision == "auto" else training.precision,
        "threads": training.threads,
        "optimiser": training.optimiser,
    }
    budgets = [
        (chosen, _amount(variant, arm, shapes, {**arm.settings, **chosen})) for chosen in arm.combinations(full=full)
    ]
    for index in range(seeds):
        for chosen, budget in budgets:
            shared = {"lr": training.lr, "weight_decay": training.weight_decay}
            cell = Cell(
                kind="final",
                settings={**arm.settings, **chosen, **shared},
                budget=budget,
                seed=derive_seed(arm.task, "final", index),
                **template,
            )
            row = " ".join([arm.name, *(f"{name}={value}" for name, value in chosen.items())])
            final = Work(cell, row, found.spec, index, f"{row} seed {index}")
            yield final, list(_measures(sweep, arm, final, where))


def _check_takes(sweep: Sweep) -> None:
    """:class:`SuiteError` for a measure that is given what it does not take, or lacks what it needs."""
    for measure in sweep.measure:
        try:
            inspect.signature(MEASURES[measure.kind]).bind(None, **measure.takes)
        except TypeError as error:
            raise SuiteError(f"suite '{sweep.name}', measure '{measure.name}': {error}.") from error


def _measures(sweep: Sweep, arm: Arm, final: Work, where: Mapping[str, Any]) -> Iterator[tuple[Measure, Work]]:
    for measure in sweep.measure:
        if measure.name in arm.measures and (measure.seeds is None or final.index < measure.seeds):
            of = final.cell.identity if arm.trained else ""
            session = {"measure": measure.kind, "of": of, "takes": measure.takes, **(where if measure.alone else {})}
            if code := rests_on(measure.takes):
                session["code"] = code
            cell = dataclasses.replace(final.cell, kind="derived", session=session)
            yield measure, dataclasses.replace(final, cell=cell, label=f"{final.label} {measure.name}")


def _amount(variant: Variant, arm: Arm, shapes: tuple[LayerShape, ...], settings: Settings) -> int:
    """The budget of the cell: the arm's, or what layers of its width hold."""
    try:
        if arm.budget is not None:
            settle(variant, Budget(arm.axis, arm.budget, shapes), settings)
            return arm.budget
        width = _width_of_one(arm, settings)
        check_claims(variant, shapes[0])
        try_claims(variant, shapes[0], width, settings)
        layers = [build_on_meta(variant, shape, width, settings) for shape in shapes]
    except MoebenchError:
        raise
    except Exception as error:
        raise SuiteError(f"{variant.name} cannot be built with {dict(settings)}: {error}") from error
    return count_layers(layers).total


def _width_of_one(arm: Arm, settings: Settings) -> int:
    """H, the hidden units of one expert: as the arm says, or when all of them together have its width."""
    if arm.expert_width is not None:
        return arm.expert_width
    assert arm.width is not None
    experts = settings.get("experts", 1)
    if not isinstance(experts, int) or experts < 1:
        raise SuiteError(f"experts must be a number of at least 1, not {experts}.")
    if arm.width % experts:
        raise SuiteError(f"{experts} experts cannot share a width of {arm.width} evenly.")
    return arm.width // experts
