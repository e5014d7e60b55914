"""Milliseconds of calls on batches of a given size, each ended on the device, and the order of rivals' turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

WARM_UP = 3
"""Calls of each part before the first one counts."""

LEAST_SECONDS = 1e-9
"""A clock that was set back during a call has measured nothing; ratios of times need more than that."""

Name = TypeVar("Name", bound=Hashable)
Part = Callable[[], object]


@dataclass(frozen=True)
class Spread:
    """Milliseconds: the median, the quartiles around it, and what they are made of, round by round."""

    median: float
    low: float
    high: float
    rounds: tuple[float, ...] = field(default=(), compare=False)


def median_ms(part: Part, device: torch.device, repeats: int) -> float:
    """The median of so many calls."""
    times = []
    for _ in range(repeats):
        synchronise(device)
        start = time.perf_counter()
        part()
        synchronise(device)
        times.append(max(time.perf_counter() - start, LEAST_SECONDS) * 1e3)
    return statistics.median(times)


def in_turns(parts: Mapping[Name, Part], device: torch.device, rounds: int, repeats: int) -> dict[Name, Spread]:
    """Each part after a warm-up, over ``rounds`` of medians taken A B C C B A, so that a drift affects all alike."""
    for part in parts.values():
        for _ in range(WARM_UP):
            part()
    times: dict[Name, list[float]] = {name: [] for name in parts}
    for index in range(rounds):
        for name in parts if index % 2 == 0 else reversed([*parts]):
            times[name].append(median_ms(parts[name], device, repeats))
    return {name: spread(each) for name, each in times.items()}


def spread(times: list[float]) -> Spread:
    """Median and quartiles; of a single time, that time."""
    if len(times) == 1:
        return Spread(times[0], times[0], times[0], tuple(times))
    low, median, high = statistics.quantiles(times, n=4, method="inclusive")
    return Spread(median, low, high, tuple(times))


def synchronise(device: torch.device) -> None:
    """Wait until the device has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def repeat_to(tensor: Tensor, count: int) -> Tensor:
    """The first ``count`` entries, from the beginning again where there are fewer."""
    return tensor[torch.arange(count, device=tensor.device) % len(tensor)]
