"""What a run in MLflow consists of, as plain values. Nothing here imports mlflow."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from moebench.records.canonical import digest

RunStatus = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]
WRITTEN = 2
"""Raised when other things are written of the same record; runs written before are then written again."""


class Times(NamedTuple):
    """When a run started and ended, in milliseconds since 1970."""

    started: int
    ended: int


class CurvePoint(NamedTuple):
    """One point of a curve; ``time`` in milliseconds since 1970."""

    name: str
    step: int
    value: float
    time: int


@dataclass(frozen=True, kw_only=True)
class Data:
    """A data set as MLflow lists it. digest: of its files. split: for training, validation and test."""

    name: str
    digest: str
    split: str
    metric: str


@dataclass(frozen=True, kw_only=True)
class Content:
    """A run as it should be. texts: file name -> text; files are copied. about: tags of its experiment."""

    name: str
    status: RunStatus
    times: Times
    tags: Mapping[str, str]
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    curves: tuple[CurvePoint, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    about: Mapping[str, str] = field(default_factory=dict)
    data: Data | None = None


@dataclass(frozen=True, kw_only=True)
class RunEntry:
    """A run that MLflow should have.

    key: names it within its experiment. version: changes whenever its content does. parent: the key of the
    run above it. fixed: a new version is a new run in place of the old one; else it is brought up to date.
    """

    key: str
    version: str
    parent: str = ""
    fixed: bool = True
    content: Callable[[], Content]


def version_of(value: Any) -> str:
    """The version of an entry whose content is made from ``value`` (JSON)."""
    return digest([WRITTEN, value])


def texts_of(values: Mapping[str, Any]) -> dict[str, str]:
    """Values as MLflow keeps parameters, without those that are None."""
    return {name: str(value) for name, value in values.items() if value is not None}


def finite(values: Mapping[str, float | None]) -> dict[str, float]:
    """The values that are finite: MLflow would turn an infinity into 1.8e308."""
    return {name: float(v) for name, v in values.items() if v is not None and math.isfinite(v)}


def shortened(text: str, length: int) -> str:
    """A text that fits, ended at a line or with an ellipsis."""
    if len(text) <= length:
        return text
    whole_lines = text[: length - 2].rpartition("\n")[0]
    return f"{whole_lines or text[: length - 2]}\n…"
