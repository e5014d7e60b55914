"""The schema of a suite file. Every key is here; an unknown one is an error."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    field_validator,
    model_validator,
)

SettingValue = StrictBool | StrictInt | StrictFloat | StrictStr
Positive = Annotated[int, Field(strict=True, ge=1)]
Number = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]

ROW_NAME = re.compile(r"[a-z][a-z0-9_]*")
SUITE_NAME = re.compile(r"[a-z][a-z0-9-]{0,63}")

OTHERS = frozenset(
    {"records", "sidecars", "weights", "checkpoints", "claims", "logs", "slurm", "published", "mlartifacts"}
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


class Range(_Table):
    """A tuned number, drawn log-uniformly between low and high; trial 0 has the default."""

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


class Training(_Table):
    """How every model is trained. threads and precision are part of the protocol; ``auto`` is bf16 on CUDA."""

    steps: Positive
    batch: Positive
    micro_batch: Positive | None = None
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    threads: Positive = 1


class Tuning(_Table):
    """The effort that every variant gets, and the settings that all share: the same draws for every variant.

    random: all trials are asked when the suite is planned. tpe: asked in generations of fixed size, told in order.
    """

    trials: Positive = 4
    sampler: Literal["random", "tpe"] = "random"
    generation: Positive = 4
    lr: Range
    weight_decay: Range


class Latency(_Table):
    """A session: ``rounds`` turns over all finalists, each measuring ``repeats`` forward passes at ``batch``."""

    batch: Positive = 64
    rounds: Annotated[int, Field(strict=True, ge=6)] = 12
    repeats: Positive = 5


class TaskEntry(_Table):
    """A task of the suite, with what differs from the suite's [host] and [training] for it."""

    name: StrictStr
    host: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)


class Reference(_Table):
    """An unranked row. ``active_of`` gives it the budget of that variant's active parameters, at its defaults."""

    name: StrictStr
    variant: StrictStr
    note: StrictStr
    active_of: StrictStr | None = None

    @field_validator("name")
    @classmethod
    def _well_formed(cls, name: str) -> str:
        if not ROW_NAME.fullmatch(name):
            raise ValueError("a row's name must be lower-case letters, digits and underscores")
        return name


class Suite(_Table):
    """One comparison: variants x tasks x budgets, under one protocol.

    budgets: one amount, or a ladder, on the declared axis, over all expert layers. space: per variant, the values
    of a setting that tuning may choose among instead of the variant's own.
    """

    name: SuiteName
    title: StrictStr
    axis: Literal["total", "active", "flops"] = "total"
    budgets: Annotated[list[Positive], Field(min_length=1)]
    seeds: Positive = 3
    variants: Annotated[list[StrictStr], Field(min_length=1)]
    reference: list[Reference] = Field(default_factory=list)
    task: Annotated[list[TaskEntry], Field(min_length=1)]
    host: dict[str, Any]
    training: Training
    tuning: Tuning
    latency: Latency = Field(default_factory=Latency)
    space: dict[str, dict[str, Annotated[list[SettingValue], Field(min_length=1)]]] = Field(default_factory=dict)

    @property
    def task_names(self) -> list[str]:
        """The tasks, in the order of the file."""
        return [entry.name for entry in self.task]

    @model_validator(mode="after")
    def _names_are_unique(self) -> Suite:
        problem = next(self._problems(), "")
        if problem:
            raise ValueError(problem)
        return self

    def _problems(self) -> Iterator[str]:
        """Names that are given twice."""
        rows = [*self.variants, *(reference.name for reference in self.reference)]
        budgets = [str(budget) for budget in self.budgets]
        for what, names in (("task", self.task_names), ("row", rows), ("budget", budgets)):
            yield from (f"{what} '{name}' is named twice" for name in names if names.count(name) > 1)
