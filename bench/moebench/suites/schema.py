"""The schema of a suite file. Every key is here; an unknown one is an error."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise, product
from math import prod
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StrictStr,
    field_validator,
    model_serializer,
    model_validator,
)

from moebench.plugins.named import remember

LARGEST = 1e18
"""Of a setting."""


def _setting(value: object) -> object:
    if not isinstance(value, bool | int | float | str):
        raise ValueError("must be a number, a string, true or false")
    if not isinstance(value, str) and not abs(value) <= LARGEST:
        raise ValueError(f"must be a number between {-LARGEST:g} and {LARGEST:g}")
    return value


SettingValue = Annotated[Any, AfterValidator(_setting)]
"""A number, a string, true or false."""

Values = dict[str, Annotated[list[SettingValue], Field(min_length=1)]]
"""Setting -> the values that it may have."""

MOST = 1000
"""Seeds, trials, rows and whatever else a suite counts, at most: a plan has them all in memory."""

Axis = Literal["total", "active", "flops"]
Positive = Annotated[int, Field(strict=True, ge=1, le=10**12)]
Count = Annotated[int, Field(strict=True, ge=1, le=MOST)]
Number = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]

ROW_NAME = re.compile(r"[a-z][a-z0-9_]*")
SUITE_NAME = re.compile(r"[a-z][a-z0-9-]{0,63}")

OTHERS = frozenset(
    {"records", "sidecars", "weights", "checkpoints", "claims", "flops", "logs", "slurm", "published", "mlartifacts"}
)
"""Folders of a results directory that are nobody's, where a suite has one of its name; see docs/records.md."""


def _suite_name(name: str) -> str:
    if not SUITE_NAME.fullmatch(name):
        raise ValueError("a suite's name (or its file's) is up to 64 lower-case letters, digits and hyphens")
    if name in OTHERS:
        raise ValueError(f"'{name}' is a folder of every results directory; give the suite another name")
    return name


SuiteName = Annotated[StrictStr, AfterValidator(_suite_name)]
"""Names a folder, so that it must not lead anywhere else."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    later: ClassVar[tuple[str, ...]] = ()
    """Keys that plans have only where they say something: published plans were written before there were such keys."""

    @model_serializer(mode="wrap")
    def _written(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = write(self)
        return {name: value for name, value in values.items() if value or name not in self.later}


class Range(_Table):
    """A tuned number between low and high, on a log scale; trial 0 has the default."""

    low: Number
    high: Number
    default: Number

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if not self.low < self.high:
            raise ValueError(f"low {self.low} must be below high {self.high}")
        if not self.low <= self.default <= self.high:
            raise ValueError(f"default {self.default} must lie between low {self.low} and high {self.high}")
        return self


class TrainingSettings(_Table):
    """How every model is trained. threads and precision are part of the protocol; ``auto`` is bf16 on CUDA.

    optimiser (see ``moebench.training.loop``), lr, weight_decay: of rows with fixed settings, which need the first
    two. The rows that are tuned get theirs from [tuning]. graphs: whether a whole step is one CUDA graph where that can
    be (``moebench.training.graphs``), for models so small that starting kernels takes most of the time. deterministic:
    whether a run on a GPU has the same bits each time, as on a CPU (``moebench.training.device.use``).
    """

    later = ("optimiser", "lr", "weight_decay", "graphs", "deterministic")

    steps: Annotated[Positive, Field(le=10**8)]
    batch: Annotated[Positive, Field(le=10**8)]
    micro_batch: Positive | None = None
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    threads: Count = 1
    optimiser: Literal["adam", "adamw_cosine"] | None = None
    lr: Number | None = None
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    graphs: bool = False
    deterministic: bool = False


class TuningSettings(_Table):
    """The effort that every variant gets, and the settings that all share: the same for every variant.

    grid: learning rates and weight decays of a fixed design (``moebench.plans.design``); a variant's own choices take
    their options in turn along the rates, its ranges are drawn at random. random: all of it is drawn at random, as in
    protocol 1. tpe: the shared settings as for grid, a variant's own asked in generations of fixed size, told in order.
    steps: of a trial, where they are fewer than those of a final run; its schedule ends with them.
    """

    later = ("steps",)

    trials: Count = 4
    steps: Annotated[Positive, Field(le=10**8)] | None = None
    sampler: Literal["grid", "random", "tpe"] = "grid"
    generation: Count = 4
    lr: Range
    weight_decay: Range


class Latency(_Table):
    """A session: ``rounds`` turns over all finalists, each measuring ``repeats`` forward passes at ``batch``."""

    batch: Positive = 64
    rounds: Annotated[Count, Field(ge=6)] = 12
    repeats: Count = 5


class TaskEntry(_Table):
    """A task of the suite, with what differs from the suite's [host] and [training] for it.

    settings: those of the task that are not its defaults; once the suite is read they stand behind its name.
    """

    later = ("settings",)

    name: StrictStr
    settings: dict[str, int | StrictStr] = Field(default_factory=dict)
    host: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)


class NamedRow(_Table):
    """A ranked row under a name of its own, so that one variant may have several, each with its [space.NAME]."""

    name: StrictStr
    variant: StrictStr

    @field_validator("name")
    @classmethod
    def _well_formed(cls, name: str) -> str:
        if not ROW_NAME.fullmatch(name):
            raise ValueError("a row's name must be lower-case letters, digits and underscores")
        return name


class Reference(NamedRow):
    """An unranked row. ``active_of`` gives it the budget of that row's active parameters, at its defaults; ``like`` the
    numbers of experts and choices that the suite gives that row.
    """

    later = ("like",)

    note: StrictStr
    active_of: StrictStr | None = None
    like: StrictStr | None = None


class Ladder(_Table):
    """Dense layers of several sizes, tuned and seeded as every row: the compute that a dense model needs for a loss.

    sizes: amounts on the suite's axis, from small to large; a size that is one of the suite's budgets is the row of
    dense there. floor: the loss, in nats, that no size would reach, for the power law that is shown; without it five
    sizes are fitted, and fewer have none.
    """

    later = ("floor",)

    sizes: Annotated[list[Positive], Field(min_length=2, max_length=16)]
    floor: Number | None = None

    @field_validator("sizes")
    @classmethod
    def _rising(cls, sizes: list[int]) -> list[int]:
        if any(low >= high for low, high in pairwise(sizes)):
            raise ValueError("sizes must rise")
        return sizes


class SuiteRow(_Table):
    """A variant with fixed settings, at every combination of those that vary: trained and measured, never tuned.

    task, host, training: what differs from the suite's; without a task it is on all of them. The settings of a task
    stand behind its name: ``correlated?correlation=20``. vary, vary_full: setting
    -> values, in the reduced form and in the full one (by default the same). At most one of ``budget``, the amount of
    the expert layers on the ``axis``; ``width``, the hidden units of all experts of a layer together; and
    ``expert_width``, those of each; without one it has the suite's budgets.
    trained: false measures initial weights.
    """

    name: StrictStr
    variant: StrictStr
    task: StrictStr | None = None
    host: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    settings: dict[str, SettingValue] = Field(default_factory=dict)
    vary: Values = Field(default_factory=dict)
    vary_full: Values = Field(default_factory=dict)
    only_full: bool = False
    axis: Axis | None = None
    budget: Positive | None = None
    width: Positive | None = None
    expert_width: Positive | None = None
    trained: bool = True

    def combinations(self, *, full: bool) -> Iterator[dict[str, Any]]:
        """The settings that vary, one combination after the other."""
        if self.only_full and not full:
            return
        vary = self.vary | self.vary_full if full else self.vary
        for values in product(*vary.values()):
            yield dict(zip(vary, values, strict=True))

    def problem(self, budgets: list[int]) -> str:
        """What is wrong with its size; empty where nothing is."""
        if max(prod(map(len, vary.values())) for vary in (self.vary, self.vary | self.vary_full)) > MOST:
            return f"row '{self.name}' has more than {MOST} combinations of settings"
        sizes = sum(size is not None for size in (self.budget, self.width, self.expert_width))
        if sizes > 1 or not (sizes or budgets):
            return f"row '{self.name}' needs one of budget, width and expert_width"
        if self.axis not in (None, "total") and sizes and self.budget is None:
            return f"row '{self.name}' has the axis '{self.axis}', which needs a budget"
        return ""


class SuiteMeasure(_Table):
    """Something measured on trained models. kind: see ``moebench.measures``. takes: what that measure takes.

    rows: of which rows (by default all); of a tuned row it is measured on the final models. seeds: only the first so
    many. alone: with nothing else running, because it measures time.
    """

    name: StrictStr
    kind: StrictStr
    takes: dict[str, Any] = Field(default_factory=dict)
    rows: list[StrictStr] | None = None
    seeds: Positive | None = None
    alone: bool = False

    def is_of(self, row: str, index: int) -> bool:
        """Whether the model of a row and seed is measured."""
        return (self.rows is None or row in self.rows) and (self.seeds is None or index < self.seeds)


class Suite(_Table):
    """One experiment: rows x tasks x budgets, under one protocol.

    variants, ranked, reference: rows that are tuned, which needs [tuning], on a board; the first two with a rank. row:
    rows of fixed settings.
    budgets: one amount, or a ladder, on the declared axis, over all expert layers. rank_by: the score that selects
    trials and ranks, ``loss`` or the name of a score, by default the headline of each task. ladder: dense sizes, for
    what a layer is worth in compute. smallest_difference: of two rows' scores, that matters; the board tells how many
    seeds find it. full_seeds: seeds of the full form.
    space: per variant or row, the values of a setting that tuning may choose among instead of the variant's own; those
    of a row come before those of its variant. study: who judges claims by the records. plugins: where the tasks, hosts,
    measures and the study are found that moebench does not bring; made when the file is read. thin_sidecars: whether
    the load of experts is kept of every 20th step of final runs alone.
    """

    later = (
        *("full_seeds", "ranked", "row", "measure", "study", "plugins", "rank_by", "smallest_difference", "ladder"),
        "thin_sidecars",
    )

    name: SuiteName
    title: StrictStr
    axis: Axis = "total"
    budgets: list[Positive] = Field(default_factory=list, max_length=MOST)
    rank_by: StrictStr | None = None
    smallest_difference: Number | None = None
    seeds: Count = 3
    full_seeds: Count | None = None
    variants: list[StrictStr] = Field(default_factory=list, max_length=MOST)
    ranked: list[NamedRow] = Field(default_factory=list, max_length=MOST)
    reference: list[Reference] = Field(default_factory=list, max_length=MOST)
    row: list[SuiteRow] = Field(default_factory=list, max_length=MOST)
    task: list[TaskEntry] = Field(default_factory=list, max_length=MOST)
    host: dict[str, Any] = Field(default_factory=dict)
    training: TrainingSettings
    tuning: TuningSettings | None = None
    latency: Latency = Field(default_factory=Latency)
    ladder: Ladder | None = None
    space: dict[str, Values] = Field(default_factory=dict)
    measure: list[SuiteMeasure] = Field(default_factory=list, max_length=MOST)
    study: StrictStr | None = None
    plugins: dict[str, str] = Field(default_factory=dict)
    thin_sidecars: bool = False

    @property
    def task_names(self) -> list[str]:
        """The tasks of the board, in the order of the file."""
        return [entry.name for entry in self.task]

    @property
    def all_tasks(self) -> list[str]:
        """Those, and the tasks that only rows of fixed settings name."""
        return list(dict.fromkeys([*self.task_names, *(row.task for row in self.row if row.task)]))

    @property
    def named(self) -> list[NamedRow]:
        """The tuned rows that have a name of their own: the ranked ones, then the references."""
        return [*self.ranked, *self.reference]

    @property
    def ladder_rows(self) -> dict[str, int]:
        """The rows of dense at the sizes of the ladder that are no budgets of the board: name -> size."""
        sizes = self.ladder.sizes if self.ladder else []
        return {f"dense_{size}": size for size in sizes if size not in self.budgets}

    @property
    def row_names(self) -> list[str]:
        """All rows; a variant from a file is here by its file."""
        tuned = [*self.variants, *(each.name for each in self.named), *self.ladder_rows]
        return [*tuned, *(row.name for row in self.row)]

    def with_specs(self, specs: Mapping[str, str]) -> Suite:
        """With other specs of the variants of its tuned rows, row -> spec; a row that it does not name is a variant."""
        named = {*(each.name for each in self.named), *self.ladder_rows}

        def renewed(rows: Sequence[NamedRow]) -> list[NamedRow]:
            return [each.model_copy(update={"variant": specs.get(each.name, each.variant)}) for each in rows]

        variants = [spec for row, spec in specs.items() if row not in named]
        return self.model_copy(
            update={"variants": variants, "ranked": renewed(self.ranked), "reference": renewed(self.reference)}
        )

    @property
    def tuned(self) -> TuningSettings:
        """How the rows of the board are tuned; of a suite that has a board."""
        assert self.tuning is not None
        return self.tuning

    @property
    def has_full_form(self) -> bool:
        """Whether there is more of it than the reduced form."""
        return self.full_seeds is not None or any(row.only_full or row.vary_full for row in self.row)

    def entries_of(self, row: SuiteRow) -> list[TaskEntry]:
        """The tasks that a row of fixed settings is on, with what differs for them."""
        if row.task is None:
            return self.task
        return [entry for entry in self.task if entry.name == row.task] or [TaskEntry(name=row.task)]

    def host_of(self, *changed: TaskEntry | SuiteRow) -> dict[str, Any]:
        """The host with what a task and a row change."""
        host = self.host
        for each in changed:
            host = host | each.host
        return host

    def training_of(self, *changed: TaskEntry | SuiteRow) -> TrainingSettings:
        """The training with what a task and a row change."""
        values: Mapping[str, Any] = self.training.model_dump()
        for each in changed:
            values = {**values, **each.training}
        return TrainingSettings.model_validate(values)

    @model_validator(mode="after")
    def _holds_together(self) -> Suite:
        remember(self.plugins)
        problem = next(self._problems(), "")
        if problem:
            raise ValueError(problem)
        return self

    def _problems(self) -> Iterator[str]:
        """Keys that are missing, names that are given twice, rows without a size."""
        yield from (
            f"{key}: must not be empty" if key in self.model_fields_set else f"the key '{key}' is missing"
            for key in self._needed()
            if not getattr(self, key)
        )
        budgets, measures = list(map(str, self.budgets)), [measure.name for measure in self.measure]
        twice = {"task": self.task_names, "row": self.row_names, "budget": budgets, "measure": measures}
        for what, names in twice.items():
            yield from (f"{what} '{name}' is named twice" for name in names if names.count(name) > 1)
        yield from filter(None, (row.problem(self.budgets) for row in self.row))
        if self.ladder and "dense" not in self.variants:
            yield "ladder: it is of sizes of 'dense', which is not among the variants"
        if self.tuning and self.tuning.steps:
            finals = {entry.name: entry.training.get("steps", self.training.steps) for entry in self.task}
            yield from (
                f"tuning: a trial has {self.tuning.steps} steps, and a final run on task '{name}' only {steps}"
                for name, steps in finals.items()
                if isinstance(steps, int) and steps < self.tuning.steps
            )
        if self.tuning is None:
            ranking = ("rank_by", "smallest_difference", "ladder")
            yield from (f"the key '{key}' is for rows that are ranked" for key in ranking if getattr(self, key))

    def _needed(self) -> Iterator[str]:
        """The keys that this suite must have, beside those that every suite has."""
        if self.tuning or self.variants or self.named or self.space or not self.row:
            yield from ("variants", "budgets", "task", "host", "tuning")
        if any(row.task is None for row in self.row):
            yield "task"


class Series(_Table):
    """Suites that run one after the other and have one study.

    optional: the parts that are left out, with the reason, where their data set is not there.
    """

    name: SuiteName
    title: StrictStr
    parts: Annotated[list[StrictStr], Field(min_length=1, max_length=MOST)]
    optional: list[StrictStr] = Field(default_factory=list, max_length=MOST)
    study: StrictStr | None = None

    @model_validator(mode="after")
    def _optional_parts_exist(self) -> Series:
        stray = next((name for name in self.optional if name not in self.parts), None)
        if stray is not None:
            raise ValueError(f"optional: '{stray}' is no part; the parts are: {', '.join(self.parts)}")
        return self
