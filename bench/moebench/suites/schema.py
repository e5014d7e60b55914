"""The schema of a suite file. Every key is here; an unknown one is an error."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr, model_validator

SettingValue = StrictBool | StrictInt | StrictFloat | StrictStr
Positive = Annotated[int, Field(strict=True, ge=1)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Range(_Table):
    """A tuned number, drawn log-uniformly between low and high; trial 0 has the default."""

    low: float = Field(gt=0)
    high: float = Field(gt=0)
    default: float = Field(gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if not self.low < self.high or not self.low <= self.default <= self.high:
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


class Suite(_Table):
    """One comparison: variants x tasks x budgets, under one protocol.

    budgets: one amount, or a ladder, on the declared axis, over all expert layers. space: per variant, the values
    of a setting that tuning may choose among instead of the variant's own.
    """

    name: StrictStr = Field(pattern=r"^[a-z][a-z0-9-]*$")
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
    space: dict[str, dict[str, list[SettingValue]]] = Field(default_factory=dict)

    @property
    def task_names(self) -> list[str]:
        """The tasks, in the order of the file."""
        return [entry.name for entry in self.task]

    @model_validator(mode="after")
    def _names_are_unique(self) -> Suite:
        for what, names in (
            ("task", self.task_names),
            ("row", [*self.variants, *(reference.name for reference in self.reference)]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{what} '{twice[0]}' is named twice")
        for row in self.space:
            if row not in [*self.variants, *(reference.variant for reference in self.reference)]:
                raise ValueError(f"space.{row} is for a variant that the suite does not have")
        return self
