"""The studies of a board: what is asked of each row on each task at each budget.

A row of another author's code is planned in a process of its own, which imports and builds it. One that ends that
process, or does not come back, is a row with its reason.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from moebench.apart import ApartError, apart
from moebench.budgets import Axis, Budget, solve, try_step
from moebench.contract import Choice, LayerShape, Space, Uniform, Variant
from moebench.errors import BudgetError, HostError, LayerError, MoebenchError, PluginError, SuiteError, UnknownNameError
from moebench.frames import frames_of, raised
from moebench.hosts import host_settings, layer_shapes
from moebench.plans.design import Bounds, shared_design
from moebench.plans.plan import SHARED, Group, mean_tokens
from moebench.plans.rows import OBJECT, Row, named_by_variant, named_by_variants
from moebench.plans.space import fitting, suite_space, to_plain, tuned_space, unfit
from moebench.plugins.find import find_variant, is_place
from moebench.plugins.imports import is_own
from moebench.plugins.load import load_variant
from moebench.plugins.named import remember, without_digest
from moebench.protocol import PROTOCOL
from moebench.suites import Suite, TaskEntry
from moebench.suites.request import Request, digest_of
from moebench.suites.schema import Range
from moebench.tasks import get_task
from moebench.training.device import DeviceInfo, default_precision
from moebench.training.seeds import derive_seed

NO_OBJECTS: Mapping[str, Variant] = {}

AT_A_TIME = 8
"""Rows of other authors that are planned side by side: several that hang take no longer than one."""


@dataclass(frozen=True)
class PlannedRow:
    """A row with the name that its variant gives itself, or with its problem; and its studies."""

    row: Row
    groups: tuple[Group, ...] = ()


def plan_rows(
    rows: Sequence[Row],
    suite: Suite,
    settings: Sequence[TaskSettings],
    objects: Mapping[str, Variant],
    remembered: Collection[str] = (),
) -> list[PlannedRow]:
    """The rows in their order under their variants' names, each with a study for each task and budget.

    ``remembered``: see :func:`named_by_variants`.
    """
    needed = [_needed(row, rows, suite) for row in rows]
    own = [all(map(_is_own, each)) for each in needed]
    pickled, given_up = _pickled(objects), threading.Event()
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        try:
            waiting = {
                index: pool.submit(_plan_apart, row, needed[index], suite, settings, pickled, given_up)
                for index, row in enumerate(rows)
                if not own[index]
            }
            variants, loaded = _load([row for index, row in enumerate(rows) if own[index]])
            here = iter([PlannedRow(row, tuple(_groups(suite, row, variants, settings))) for row in loaded])
            planned = [waiting[index].result() if index in waiting else next(here) for index in range(len(rows))]
        except BaseException:
            given_up.set()  # else the pool waits for those that hang
            raise
    named = named_by_variants([each.row for each in planned], remembered)
    return [each for each in planned if each.row in named]


def _is_own(row: Row) -> bool:
    """Whether planning the row executes no other author's code."""
    return bool(row.problem) or (row.spec != OBJECT and is_own(find_variant(row.spec)))


def _needed(row: Row, rows: Sequence[Row], suite: Suite) -> list[Row]:
    """The row, and those that it is sized or shaped by; where none has such a name yet, all that may turn out to."""
    names = {row.active_of, _like(suite, row)} - {None}
    unknown = names - {each.name for each in rows}
    return [row, *(each for each in rows if each.name in names or (unknown and is_place(each.spec)))]


def _pickled(objects: Mapping[str, Variant]) -> dict[str, bytes]:
    if not objects:
        return {}
    import cloudpickle

    return {name: cloudpickle.dumps(variant) for name, variant in objects.items()}


def _plan_apart(
    row: Row,
    needed: Sequence[Row],
    suite: Suite,
    settings: Sequence[TaskSettings],
    pickled: Mapping[str, bytes],
    given_up: threading.Event,
) -> PlannedRow:
    """One row, planned in a process of its own."""
    found: Row | None = None
    groups = list[Group]()
    try:
        for value in apart(_planned, needed, suite, settings, pickled, given_up=given_up):
            if found is None:
                found = Row.from_json(value)
            else:
                groups.append(Group.from_json(value))
    except ApartError as error:
        if found is None:
            return PlannedRow(replace(row, problem=f"{row.spec}: importing it {error}.", frames=error.frames))
        problem = f"{found.variant}: trying its layer {error}"
        places = [(task, budget) for task in settings for budget in _budgets(suite, row)]
        blanks = [_blank(suite, found, found.variant, task, budget) for task, budget in places[len(groups) :]]
        groups += [replace(blank, problem=problem, broken=True, frames=error.frames) for blank in blanks]
    assert found is not None
    return PlannedRow(found, tuple(groups))


def _planned(
    needed: Sequence[Row], suite: Suite, settings: Sequence[TaskSettings], pickled: Mapping[str, bytes]
) -> Iterator[dict[str, Any]]:
    """The body of that process: the row, then its studies."""
    import cloudpickle

    remember(suite.plugins)
    objects = {row.name: cloudpickle.loads(pickled[row.name]) for row in needed if row.name in pickled}
    variants, (row, *_) = _load(needed, objects)
    yield dataclasses.asdict(row)
    yield from map(dataclasses.asdict, _groups(suite, row, variants, settings, tried=True))


def _tried(group: Group, variant: Variant, shapes: Sequence[LayerShape]) -> Group:
    """The study, with its problem where a layer fails to take a step: dense need not be trained to find that out."""
    if group.problem:
        return group
    budget = Budget(group.template["axis"], group.amount, tuple(shapes))
    own = [{name: value for name, value in trial.items() if name not in SHARED} for trial in group.trials]
    try:
        for settings in {repr(each): each for each in own}.values():
            try_step(variant, shapes[0], solve(variant, budget, settings).sizes[0], settings)
    except Exception as error:
        return _failed(group, variant, error)
    return group


def _load(
    rows: Sequence[Row], objects: Mapping[str, Variant] = NO_OBJECTS
) -> tuple[dict[str, Variant], tuple[Row, ...]]:
    """Variants by row name, and the rows under their variants' names; a row whose plug-in cannot be used gets the
    reason as its problem.
    """
    variants: dict[str, Variant] = {}
    checked: list[Row] = []
    for row in rows:
        if not row.problem:
            try:
                variant = objects[row.name] if row.spec == OBJECT else load_variant(find_variant(row.spec))
            except PluginError as error:
                row = replace(row, problem=str(error), frames=error.facts.get("frames", ()))
            else:
                row = _checked(row, variant)
                if not row.problem:
                    variants.setdefault(row.name, variant)
        checked.append(row)
    return variants, tuple(checked)


def _checked(row: Row, variant: Variant) -> Row:
    problem = ""
    if variant.reads_groups and not row.reference:
        problem = f"'{variant.name}' is shown the groups that a task hides; it can only be a reference row."
    return named_by_variant(replace(row, problem=problem, variant=variant.name))


@dataclass(frozen=True)
class TaskSettings:
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
    def of(cls, suite: Suite, entry: TaskEntry, place: DeviceInfo, request: Request) -> TaskSettings:
        """Of one task of a suite; :class:`SuiteError` where the host does not fit it."""
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
            "data_digest": digest_of(task, request),
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


def _groups(
    suite: Suite,
    row: Row,
    variants: Mapping[str, Variant],
    settings: Sequence[TaskSettings],
    *,
    tried: bool = False,
) -> Iterator[Group]:
    """The row's studies; none of a row with a problem. tried: whether its layers take a step."""
    if row.name in variants:
        for task in settings:
            for budget in _budgets(suite, row):
                group = _group(suite, row, variants, task, budget)
                yield _tried(group, variants[row.name], task.budget_shapes) if tried else group


def _budgets(suite: Suite, row: Row) -> list[int]:
    """Those of the suite; of a row of the dense ladder its size."""
    return [row.ladder] if row.ladder else suite.budgets


def _blank(suite: Suite, row: Row, variant: str, task: TaskSettings, budget: int) -> Group:
    """A study without its trials."""
    template = task.template | {"variant": variant, "code_digest": row.code_digest, "axis": _axis(suite, row)}
    template |= {"budget": budget}
    return Group(
        row.name,
        task.name,
        budget,
        budget,
        template,
        tokens=task.tokens,
        rank_by=suite.rank_by,
        trial_steps=suite.tuned.steps,
    )


def _group(suite: Suite, row: Row, variants: Mapping[str, Variant], task: TaskSettings, budget: int) -> Group:
    """One study; a budget, host or setting that cannot be met is its problem, not a crash."""
    variant = variants[row.name]
    blank = _blank(suite, row, variant.name, task, budget)
    try:
        amount = _amount(suite, row, variants, task, budget)
        own = _space(suite, row, variants, task.budget_shapes[0])
        return _asked(suite, variant, own, task, blank, Budget(_axis(suite, row), amount, task.budget_shapes))
    except (BudgetError, HostError) as error:
        return replace(blank, problem=str(error))
    except LayerError as error:
        return _failed(blank, variant, error)
    except MoebenchError:
        raise
    except Exception as error:
        return _failed(blank, variant, error)


def _failed(group: Group, variant: Variant, error: Exception) -> Group:
    """The study of a layer that cannot be built or take a step."""
    problem = str(error) if isinstance(error, LayerError) else _raised(variant, error)
    return replace(group, problem=problem, broken=True, frames=frames_of(error))


def _raised(variant: Variant, error: Exception) -> str:
    """Which method of the author's raised what, and where; what the contract says against it is a sentence already."""
    said, name = raised(error), f"{variant.name}: "
    return f"{name}{said.partition(name)[2] or said}"


def _axis(suite: Suite, row: Row) -> Axis:
    """The suite's; a row with the parameters of another is sized by parameters where the suite counts FLOPs."""
    return "total" if row.active_of is not None and suite.axis == "flops" else suite.axis


def _amount(suite: Suite, row: Row, variants: Mapping[str, Variant], task: TaskSettings, budget: int) -> int:
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


def _space(suite: Suite, row: Row, variants: Mapping[str, Variant], shape: LayerShape) -> Space:
    """What tuning of a row may choose among; a reference has the E and K of the row that it is like.

    :class:`SuiteError` where the suite leaves these to the tuning of that row, for the two could then differ in them.
    """
    own = suite_space(suite, row.name, variants[row.name], shape)
    like = _like(suite, row)
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


def _like(suite: Suite, row: Row) -> str | None:
    """The row whose numbers of experts and choices a reference has."""
    return next((each.like for each in suite.reference if each.name == row.name), None)


def _asked(suite: Suite, variant: Variant, own: Space, task: TaskSettings, blank: Group, budget: Budget) -> Group:
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
