"""The part of a batch's routing that belongs to some of its inputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import Tensor


def part_of(value: Any, inputs: slice, batch: int) -> Any:
    """``value`` with the rows of ``inputs`` of every tensor in it that has one for each of a ``batch`` of inputs.

    Looks into mappings, lists, tuples and dataclasses; all else stays as it is.
    """
    if isinstance(value, Tensor):
        return value[inputs] if value.ndim and len(value) == batch else value
    if isinstance(value, Mapping):
        return {key: part_of(each, inputs, batch) for key, each in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(part_of(each, inputs, batch) for each in value))
    if isinstance(value, list | tuple):
        return type(value)(part_of(each, inputs, batch) for each in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [each.name for each in dataclasses.fields(value) if each.init]
        return dataclasses.replace(value, **{name: part_of(getattr(value, name), inputs, batch) for name in names})
    return value
