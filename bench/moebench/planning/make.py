"""Make a plan: import the variants, solve their budgets, ask for their trials. The only part that needs torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from moebench.budgets import Budget, solve
from moebench.contract import Uniform, Variant
from moebench.errors import BudgetError, MoebenchError, PluginError
from moebench.hosts import host_settings, layer_shapes
from moebench.planning.plan import Group, Plan
from moebench.planning.request import Request
from moebench.planning.rows import Row, resolve_rows
from moebench.planning.space import to_plain, tuned_space
from moebench.plugins.digest import object_digest
from moebench.plugins.find import find_variant
from moebench.plugins.load import load_variant
from moebench.protocol import PROTOCOL
from moebench.suites import Suite, TaskEntry
from moebench.suites.schema import Range, Training
from moebench.tasks import get_task
from moebench.training.device import choose_device, default_precision, device_name
from moebench.training.seeds import derive_seed
from moebench.tuning.ask import ask, shared_draws


def make_plan(request: Request, objects: Mapping[str, Variant] | None = None) -> Plan:
    """The plan of a request. ``objects`` are variants given as Python objects, by name."""
    suite = request.resolved()
    device = choose_device(request.device)
    digests = {name: object_digest(variant) for name, variant in (objects or {}).items()}
    rows = resolve_rows(suite, request.variants, request.extras, digests)
    variants, rows = _load(rows, objects or {})
    settings = [_TaskSettings.of(suite, entry, device, request) for entry in suite.task]
    groups = [
        _group(suite, row, variants, task, budget)
        for row in rows
        if row.name in variants
        for task in settings
        for budget in suite.budgets
    ]
    return Plan(
        suite=suite,
        protocol=request.protocol(),
        device={"type": device.type, "name": device_name(device), "torch": str(device)},
        backend=request.backend,
        data=str(request.data.resolve()) if request.data else None,
        rows=rows,
        groups=tuple(groups),
    )


def _load(rows: tuple[Row, ...], objects: Mapping[str, Variant]) -> tuple[dict[str, Variant], tuple[Row, ...]]:
    """Variants by row name; a row whose plug-in cannot be used gets the reason as its problem."""
    variants: dict[str, Variant] = {}
    checked: list[Row] = []
    for row in rows:
        problem = row.problem
        if not problem:
            try:
                variants[row.name] = objects.get(row.name) or load_variant(find_variant(row.spec))
            except PluginError as error:
                problem = str(error)
        name = variants[row.name].name if row.name in variants else row.variant
        checked.append(replace(row, problem=problem, variant=name))
    return variants, tuple(checked)


@dataclass(frozen=True)
class _TaskSettings:
    """What a task contributes to its cells, computed once."""

    name: str
    template: dict[str, Any]
    budget_shapes: tuple[Any, ...]
    trials: tuple[dict[str, float], ...]

    @classmethod
    def of(cls, suite: Suite, entry: TaskEntry, device: torch.device, request: Request) -> _TaskSettings:
        task = get_task(entry.name)
        host = host_settings(suite.host | entry.host)
        training = Training.model_validate(suite.training.model_dump() | entry.training)
        precision = default_precision(device) if training.precision == "auto" else training.precision
        template = {
            "protocol": PROTOCOL,
            "task": entry.name,
            "data_digest": task.digest(request.data),
            "split": task.split,
            "host": host.model_dump(mode="json"),
            "axis": suite.axis,
            "steps": training.steps,
            "batch": training.batch,
            "micro_batch": training.micro_batch,
            "precision": precision,
            "threads": training.threads,
        }
        ranges = {"lr": _triple(suite.tuning.lr), "weight_decay": _triple(suite.tuning.weight_decay)}
        draws = shared_draws(ranges, suite.tuning.trials, derive_seed(entry.name, "shared", 0))
        return cls(entry.name, template, layer_shapes(host, task.info), tuple(draws))


def _triple(values: Range) -> tuple[float, float, float]:
    return values.low, values.high, values.default


def _group(suite: Suite, row: Row, variants: dict[str, Variant], task: _TaskSettings, budget: int) -> Group:
    """One study; a budget or setting that cannot be met is its problem, not a crash."""
    variant = variants[row.name]
    template = task.template | {"variant": variant.name, "code_digest": row.code_digest, "budget": budget}
    blank = Group(row.name, task.name, budget, budget, template)
    try:
        amount = _amount(suite, row, variants, task, budget)
        return _asked(suite, row, variant, task, blank, Budget(suite.axis, amount, task.budget_shapes))
    except BudgetError as error:
        return Group(row.name, task.name, budget, budget, template, problem=str(error))
    except MoebenchError:
        raise
    except Exception as error:
        problem = f"{variant.name}: its space() or build() raised {type(error).__name__}: {error}"
        return Group(row.name, task.name, budget, budget, template, problem=problem)


def _amount(suite: Suite, row: Row, variants: dict[str, Variant], task: _TaskSettings, budget: int) -> int:
    """The suite's budget, or for a reference row the active parameters of another row's default."""
    if row.active_of is None:
        return budget
    if row.active_of not in variants:
        raise BudgetError(f"it needs the active parameters of '{row.active_of}', which cannot be built.")
    other = variants[row.active_of]
    whole = Budget(suite.axis, budget, task.budget_shapes)
    return solve(other, whole, tuned_space(suite, other, whole).defaults()).counts.active


def _asked(
    suite: Suite, row: Row, variant: Variant, task: _TaskSettings, blank: Group, budget: Budget
) -> Group:
    space = tuned_space(suite, variant, budget)
    trials = suite.tuning.trials
    first = trials if suite.tuning.sampler == "random" else min(suite.tuning.generation, trials)
    own = ask(
        space,
        first,
        sampler=suite.tuning.sampler,
        seed=derive_seed(task.name, "sampler", 0),
        fits=lambda settings: budget.fits(variant, settings),
    )
    if len(own) < first:
        raise BudgetError(f"{variant.name}: hardly any of its settings meets {budget.amount:,}; found {len(own)}.")
    shared = {
        name: Uniform(values.low, values.high, values.default, log=True)
        for name, values in (("lr", suite.tuning.lr), ("weight_decay", suite.tuning.weight_decay))
    }
    return Group(
        row=row.name,
        task=task.name,
        budget=blank.budget,
        amount=budget.amount,
        template=blank.template | {"budget": budget.amount},
        trials=tuple({**settings, **task.trials[index]} for index, settings in enumerate(own)),
        trial_seeds=tuple(derive_seed(task.name, "trial", index) for index in range(first)),
        final_seeds=tuple(derive_seed(task.name, "final", index) for index in range(suite.seeds)),
        space={name: to_plain(dimension) for name, dimension in {**space, **shared}.items()},
        shared=task.trials,
    )
