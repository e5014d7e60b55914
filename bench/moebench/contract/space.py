"""The settings of a variant that tuning may choose among."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Value = bool | int | float | str | None
Settings = Mapping[str, Value]


@dataclass(frozen=True)
class Choice:
    """One of a few values; the default is the first unless named."""

    options: tuple[Value, ...]
    default: Value = None

    def __post_init__(self) -> None:
        if not self.options:
            raise ValueError("a Choice needs at least one option")
        if self.default is None and None not in self.options:
            object.__setattr__(self, "default", self.options[0])
        if not self.holds(self.default):
            raise ValueError(f"the default {self.default!r} is not among the options {self.options!r}")

    def holds(self, value: Value) -> bool:
        """Whether the value is one of the options; True is not 1."""
        return any(type(value) is type(option) and value == option for option in self.options)


@dataclass(frozen=True)
class Uniform:
    """A number between low and high, uniform, or uniform in its logarithm."""

    low: float
    high: float
    default: float
    log: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(f"no range: low {self.low}, high {self.high}, log {self.log}")
        if not self.holds(self.default):
            raise ValueError(f"the default {self.default} is outside {self.low} to {self.high}")

    def holds(self, value: Value) -> bool:
        """Whether the value is a number inside the range."""
        return isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high


def LogUniform(low: float, high: float, *, default: float) -> Uniform:
    """A number between low and high, uniform in its logarithm."""
    return Uniform(low, high, default, log=True)


Dimension = Choice | Uniform


def narrowed(dimension: Dimension, options: Sequence[Any]) -> Choice:
    """A choice among these options; the default stays where it is among them."""
    choice = Choice(tuple(options))
    return Choice(choice.options, dimension.default) if choice.holds(dimension.default) else choice


class Space(dict[str, Dimension]):
    """Setting name -> its dimension. Names are lower case; the weight of an auxiliary loss is ``loss/<name>``."""

    def defaults(self) -> dict[str, Value]:
        """The settings of trial 0."""
        return {name: dimension.default for name, dimension in self.items()}
