"""The settings of a variant that tuning may choose among."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Value = bool | int | float | str | None
Settings = Mapping[str, Value]


def plain(value: Any) -> Value:
    """A value as settings and records hold it: one of numpy or of another library of arrays becomes Python's own.

    ValueError for anything but a finite number, a string, a truth value or None.
    """
    own = value.item() if getattr(value, "shape", None) == () and hasattr(value, "item") else value
    if isinstance(own, float) and type(value).__module__ == "numpy":
        own = float(str(value))  # 0.1 of single precision is written as 0.1
    if not (own is None or isinstance(own, bool | int | float | str)):
        raise ValueError(f"{value!r:.60} is of type {type(value).__name__}, no number, string, truth value or None")
    if isinstance(own, float) and not math.isfinite(own):
        raise ValueError(f"{own} is no finite number")
    return own


@dataclass(frozen=True)
class Choice:
    """One of a few values; the default is the first unless named. Values are taken as :func:`plain` gives them."""

    options: tuple[Value, ...]
    default: Value = None

    def __post_init__(self) -> None:
        if not len(self.options):
            raise ValueError("a Choice needs at least one option")
        object.__setattr__(self, "options", tuple(map(plain, self.options)))
        object.__setattr__(self, "default", plain(self.default))
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
        for name in ("low", "high", "default", "log"):
            object.__setattr__(self, name, plain(getattr(self, name)))
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
