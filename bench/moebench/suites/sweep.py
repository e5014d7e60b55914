"""The schema of a sweep's file, and of a series of sweeps. Every key is here; an unknown one is an error."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictStr, model_validator

from moebench.suites.schema import Number, Positive, SettingValue, SuiteName

MeasureKind = Literal["subset", "oracle", "cost", "gaps", "fixed", "generalization", "compressed", "compressed_cost"]
"""See ``moebench.derived``."""

Vary = dict[str, Annotated[list[SettingValue], Field(min_length=1)]]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SweepTraining(_Table):
    """How every model is trained; nothing is tuned. optimiser: see ``moebench.training.optimiser``."""

    steps: Positive
    batch: Positive
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    threads: Positive = 1
    optimiser: Literal["adam", "adamw_cosine"] = "adam"
    lr: Number
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


class Measure(_Table):
    """Something measured on a trained model. takes: what that measure takes. seeds: only the first so many.

    alone: with nothing else running, because it measures time.
    """

    name: StrictStr
    kind: MeasureKind
    takes: dict[str, Any] = Field(default_factory=dict)
    seeds: Positive | None = None
    alone: bool = False


class Arm(_Table):
    """One variant on one task in one host, at every combination of the settings that vary.

    vary, vary_full: setting -> values, in the reduced form and in the full one (by itself the same). One of ``budget``,
    the parameters of the expert layers on the ``axis``; ``width``, the hidden units of all experts of a layer together;
    and ``expert_width``, those of each.
    trained: false measures initial weights. training: what differs from the sweep's.
    """

    name: StrictStr
    task: StrictStr
    host: dict[str, Any]
    variant: StrictStr
    settings: dict[str, SettingValue] = Field(default_factory=dict)
    vary: Vary = Field(default_factory=dict)
    vary_full: Vary = Field(default_factory=dict)
    only_full: bool = False
    axis: Literal["total", "active"] = "total"
    budget: Positive | None = None
    width: Positive | None = None
    expert_width: Positive | None = None
    trained: bool = True
    training: dict[str, Any] = Field(default_factory=dict)
    measures: list[StrictStr] = Field(default_factory=list)

    @model_validator(mode="after")
    def _has_one_size(self) -> Arm:
        if sum(size is not None for size in (self.budget, self.width, self.expert_width)) != 1:
            raise ValueError(f"arm '{self.name}' needs one of budget, width and expert_width")
        if self.axis != "total" and self.budget is None:
            raise ValueError(f"arm '{self.name}' has the axis '{self.axis}', which needs a budget")
        return self

    def combinations(self, *, full: bool) -> Iterator[dict[str, SettingValue]]:
        """The settings that vary, one combination after the other."""
        if self.only_full and not full:
            return
        vary = self.vary | self.vary_full if full else self.vary
        for values in product(*vary.values()):
            yield dict(zip(vary, values, strict=True))


class Sweep(_Table):
    """A question, the arms that answer it, and what is measured. ``full_seeds``: seeds of the full form."""

    name: SuiteName
    title: StrictStr
    seeds: Positive
    full_seeds: Positive
    training: SweepTraining
    arm: Annotated[list[Arm], Field(min_length=1)]
    measure: list[Measure] = Field(default_factory=list)

    @model_validator(mode="after")
    def _names_are_good(self) -> Sweep:
        known = [measure.name for measure in self.measure]
        arms = [arm.name for arm in self.arm]
        for what, names in (("measure", known), ("arm", arms)):
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise ValueError(f"{what} '{twice}' is named twice")
        for arm in self.arm:
            for name in arm.measures:
                if name not in known:
                    raise ValueError(f"arm '{arm.name}' asks for the measure '{name}', which is not there")
        return self

    def training_of(self, arm: Arm) -> SweepTraining:
        """The sweep's training with the arm's changes."""
        return SweepTraining.model_validate(self.training.model_dump() | arm.training)


class Series(_Table):
    """Sweeps that run one after the other and have one report."""

    name: SuiteName
    title: StrictStr
    parts: Annotated[list[StrictStr], Field(min_length=1)]
    report: Literal["paper", "parrots"]
