"""Make a plan: import the variants, solve their budgets, ask for their trials. The only part that needs torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from moebench.budgets import Axis, Budget, solve
from moebench.contract import Choice, LayerShape, Space, Uniform, Variant
from moebench.errors import BudgetError, HostError, LayerError, MoebenchError, PluginError, SuiteError, UnknownNameError
from moebench.hosts import host_settings, layer_shapes
from moebench.plans.design import Bounds, shared_design
from moebench.plans.fixed import fixed_works, planned_measures
from moebench.plans.plan import Group, Plan, mean_tokens
from moebench.plans.rows import OBJECT, Row, named_by_variants, resolve_rows
from moebench.plans.space import fitting, suite_space, to_plain, tuned_space, unfit
from moebench.plugins.backends import load_backend
from moebench.plugins.find import find_variant
from moebench.plugins.load import load_variant
from moebench.plugins.named import without_digest
from moebench.plugins.objects import object_digest
from moebench.protocol import PROTOCOL
from moebench.suites import Suite, TaskEntry
from moebench.suites.load import check_hosts
from moebench.suites.request import Request
from moebench.suites.schema import Range
from moebench.tasks import get_task
from moebench.training.device import DeviceInfo, default_precision, here
from moebench.training.seeds import derive_seed


def make_plan(request: Request, objects: Mapping[str, Variant] | None = None) -> Plan:
    """The plan of a request. ``objects`` are variants given as Python objects, by name."""
    suite = request.suite
    check_hosts(suite, request.named or suite.name)
    place = request.place or here(request.device)
    if request.backend:
        load_backend(request.backend)
    measures = planned_measures(request, place)
    digests = {name: object_digest(variant) for name, variant in (objects or {}).items()}
    rows = resolve_rows(suite, request.variants, request.extras, digests)
    variants, rows = _load(rows, objects or {}, request.extras)
    _check_names(suite, rows)
    _check_task_names(suite)
    settings = []
    if suite.tuning is not None:
        _check_directions(suite)
        settings = [_TaskSettings.of(suite, entry, place, request) for entry in suite.task]
    groups = [
        _group(suite, row, variants, task, budget)
        for row in rows
        if row.name in variants
        for task in settings
        for budget in suite.budgets
    ]
    return Plan(
        suite=suite,
        protocol=request.protocol,
        device=place.as_device(),
        versions=place.versions,
        backend=request.backend,
        data=str(request.data) if request.data else None,
        rows=rows,
        groups=tuple(groups),
        fixed=fixed_works(request, place),
        measures=measures,
        full=request.full,
    )


def _load(
    rows: tuple[Row, ...], objects: Mapping[str, Variant], extras: tuple[str, ...]
) -> tuple[dict[str, Variant], tuple[Row, ...]]:
    """Variants by row name, and the rows under their variants' names; a row whose plug-in cannot be used gets the
    reason as its problem.
    """
    variants: dict[str, Variant] = {}
    checked: list[Row] = []
    for row in rows:
        if not row.problem:
            try:
                given = row.spec == OBJECT
                variant = objects[row.name] if given else load_variant(find_variant(row.spec))
                problem = ""
                if variant.reads_groups and not row.reference:
                    problem = f"'{variant.name}' is shown the groups that a task hides; it can only be a reference row."
                row = replace(row, problem=problem, variant=variant.name)
                variants[row.key] = variant
            except PluginError as error:
                row = replace(row, problem=str(error))
        checked.append(row)
    named = named_by_variants(checked, extras)
    return {row.name: variants[row.key] for row in named if not row.problem}, named


def _check_names(suite: Suite, rows: tuple[Row, ...]) -> None:
    """A variant from a file is known by name only now."""
    known = {name for row in rows for name in (row.variant, row.name)}
    for name in suite.space:
        if name not in known:
            raise UnknownNameError("variant", name, known, f"[space] of suite '{suite.name}'")
    named = {*(row.name for row in rows), *(row.name for row in suite.row)}
    for measure in suite.measure:
        for name in measure.rows or ():
            if name not in named:
                raise UnknownNameError("row", name, named, f"measure '{measure.name}' of suite '{suite.name}'")


def _check_task_names(suite: Suite) -> None:
    """Boards go by the names that tasks give themselves."""
    called: dict[str, str] = {}
    for name in suite.all_tasks:
        other = called.setdefault(get_task(name).info.name, name)
        if other != name:
            raise SuiteError(
                f"suite '{suite.name}': {without_digest(other)} and {without_digest(name)} both call themselves "
                f"'{get_task(name).info.name}'; rename one.",
                code="tasks-of-one-name",
                names=[other, name],
            )


def _check_directions(suite: Suite) -> None:
    """Representation is a mean over tasks, which says nothing where more is better on one and worse on another."""
    tasks = {without_digest(name): get_task(name) for name in suite.task_names}
    if without := [name for name, task in tasks.items() if task.info.headline is None]:
        raise SuiteError(
            f"suite '{suite.name}': task '{without[0]}' only times layers and has no score to rank by; take it out.",
            code="task-without-headline",
            task=without[0],
        )
    high = [name for name, task in tasks.items() if task.score_that_ranks(suite.rank_by).higher_is_better]
    low = [name for name in tasks if name not in high]
    if high and low:
        raise SuiteError(
            f"suite '{suite.name}': more is better on {', '.join(high)} and worse on {', '.join(low)}, and scores are "
            "means over tasks; give each kind a suite of its own.",
            code="mixed-directions",
        )


@dataclass(frozen=True)
class _TaskSettings:
    """What a task contributes to its cells, computed once."""

    name: str
    template: dict[str, Any]
    budget_shapes: tuple[LayerShape, ...]
    trials: tuple[dict[str, float], ...]

    @property
    def tokens(self) -> int:
        """T of a layer, on average."""
        return mean_tokens(self.budget_shapes)

    @classmethod
    def of(cls, suite: Suite, entry: TaskEntry, place: DeviceInfo, request: Request) -> _TaskSettings:
        task = get_task(entry.name)
        host = host_settings(suite.host_of(entry))
        try:
            shapes = layer_shapes(host, task.info)
        except SuiteError as error:
            raise SuiteError(f"suite '{suite.name}': {error}", code="host-does-not-fit") from None
        training = suite.training_of(entry)
        precision = default_precision(place.type) if training.precision == "auto" else training.precision
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
        return cls(entry.name, template, shapes, tuple(_shared_trials(suite, entry)))


def _shared_trials(suite: Suite, entry: TaskEntry) -> list[dict[str, float]]:
    """Learning rate and weight decay of every trial on a task."""
    tuning, (lr, weight_decay) = suite.tuned, map(_triple, (suite.tuned.lr, suite.tuned.weight_decay))
    if tuning.sampler != "random":
        return shared_design(lr, weight_decay, tuning.trials)
    from moebench.plans.ask import shared_draws  # imports optuna, which suites of fixed settings do not need

    seed = derive_seed(without_digest(entry.name), "shared", 0)
    return shared_draws({"lr": lr, "weight_decay": weight_decay}, tuning.trials, seed)


def _triple(values: Range) -> Bounds:
    return values.low, values.high, values.default


def _group(suite: Suite, row: Row, variants: dict[str, Variant], task: _TaskSettings, budget: int) -> Group:
    """One study; a budget, host or setting that cannot be met is its problem, not a crash."""
    variant, axis = variants[row.name], _axis(suite, row)
    template = task.template | {"variant": variant.name, "code_digest": row.code_digest, "axis": axis}
    template |= {"budget": budget}
    blank = Group(row.name, task.name, budget, budget, template, tokens=task.tokens, rank_by=suite.rank_by)
    try:
        amount = _amount(suite, row, variants, task, budget)
        own = _space(suite, row, variants, task.budget_shapes[0])
        return _asked(suite, variant, own, task, blank, Budget(axis, amount, task.budget_shapes))
    except (BudgetError, HostError) as error:
        return replace(blank, problem=str(error))
    except LayerError as error:
        return replace(blank, problem=str(error), broken=True)
    except MoebenchError:
        raise
    except Exception as error:
        return replace(blank, problem=_raised(variant, error), broken=True)


def _raised(variant: Variant, error: Exception) -> str:
    return f"{variant.name}: its space() or build() raised {type(error).__name__}: {error}"


def _axis(suite: Suite, row: Row) -> Axis:
    """The suite's; a row with the parameters of another is sized by parameters where the suite counts FLOPs."""
    return "total" if row.active_of is not None and suite.axis == "flops" else suite.axis


def _amount(suite: Suite, row: Row, variants: dict[str, Variant], task: _TaskSettings, budget: int) -> int:
    """The suite's budget, or for a reference row the active parameters of another row's default."""
    if row.active_of is None:
        return budget
    other = variants.get(row.active_of)
    if other is None:
        raise BudgetError(
            f"it needs the active parameters of '{row.active_of}', which cannot be used.", code="active-of-unusable"
        )
    whole = Budget(suite.axis, budget, task.budget_shapes)
    try:
        own = suite_space(suite, row.active_of, other, task.budget_shapes[0])
        return solve(other, whole, tuned_space(own, other, whole).defaults()).counts.active
    except (BudgetError, HostError) as error:
        raise BudgetError(
            f"it needs the active parameters of '{row.active_of}': {error}", code="active-of-invalid"
        ) from error
    except MoebenchError:
        raise
    except Exception as error:
        raise BudgetError(
            f"it needs the active parameters of '{row.active_of}': {_raised(other, error)}", code="active-of-raised"
        ) from error


SPARSITY = ("experts", "top_k")
"""Settings that a reference has from the row that it is like."""


def _space(suite: Suite, row: Row, variants: dict[str, Variant], shape: LayerShape) -> Space:
    """What tuning of a row may choose among; a reference has the E and K of the row that it is like.

    :class:`SuiteError` where the suite leaves these to the tuning of that row, for the two could then differ in them.
    """
    own = suite_space(suite, row.name, variants[row.name], shape)
    like = next((each.like for each in suite.reference if each.name == row.name), None)
    if like is None:
        return own
    if like not in variants:
        raise BudgetError(f"it is like '{like}', which cannot be used.", code="like-unusable", row=like)
    if "experts" not in own:
        raise UnknownNameError("setting", "experts", own, f"'{row.name}', which is to be like '{like}'")
    its = suite_space(suite, like, variants[like], shape)
    shared = {name: its[name] for name in SPARSITY if name in its}
    if "experts" not in shared or not all(isinstance(d, Choice) and len(d.options) == 1 for d in shared.values()):
        raise SuiteError(
            f"suite '{suite.name}': the reference '{row.name}' is like '{like}', so [space.{like}] must give one "
            "number of experts, and one top_k.",
            code="like-needs-one-sparsity",
            row=row.name,
            like=like,
        )
    return Space({**own, **{name: dimension for name, dimension in shared.items() if name in own}})


def _asked(suite: Suite, variant: Variant, own: Space, task: _TaskSettings, blank: Group, budget: Budget) -> Group:
    from moebench.plans.ask import ask

    fits = fitting(variant, budget)
    space = tuned_space(own, variant, budget, fits)
    values = {name: to_plain(dimension) for name, dimension in space.items()}
    called = without_digest(task.name)
    tuning, later = suite.tuned, suite.tuned.sampler == "tpe"
    first = min(tuning.generation, tuning.trials) if later else tuning.trials
    rates = [trial["lr"] for trial in task.trials] if tuning.sampler == "grid" else []
    seed = derive_seed(called, "sampler", 0)
    found = ask(values, first, sampler=tuning.sampler, seed=seed, fits=fits, rates=rates)
    if len(found) < first:
        raise BudgetError(
            f"{variant.name}: hardly any of its settings meets {budget.amount:,}; found {len(found)}.",
            code="few-settings-fit",
        )
    return replace(
        blank,
        amount=budget.amount,
        template=blank.template | {"budget": budget.amount},
        trials=tuple({**settings, **task.trials[index]} for index, settings in enumerate(found)),
        trial_seeds=tuple(derive_seed(called, "trial", index) for index in range(first)),
        final_seeds=tuple(derive_seed(called, "final", index) for index in range(suite.seeds)),
        space=values | {name: to_plain(dimension) for name, dimension in _shared(suite).items()},
        shared=task.trials,
        unfit=tuple(unfit(space, fits)) if later else (),
    )


def _shared(suite: Suite) -> dict[str, Uniform]:
    """The dimensions of the training loop."""
    ranges = (("lr", suite.tuned.lr), ("weight_decay", suite.tuned.weight_decay))
    return {name: Uniform(values.low, values.high, values.default, log=True) for name, values in ranges}
