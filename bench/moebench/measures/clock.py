"""Milliseconds of calls on batches of a given size, and the order of rivals' turns.

On a CPU a call is timed by the wall clock. A GPU works on after the call has returned: there, events in its own queue
stand around many calls, how long the host was busy is apart, and so is the same work as a graph, which the host starts
at once. Before that it is kept at work until its clocks, which it lowers when idle, are up.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

from moebench.training.graphs import capture, waits

WARM_UP = 3
"""Calls of each part before the first one counts."""

WARM_SECONDS = 0.1
"""On CUDA: of a part's own work before it is timed."""

CALLS = 20
"""On CUDA: between two events, at least."""

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


@dataclass(frozen=True)
class Timed:
    """Milliseconds a call. host_ms: until the call returns; None on a CPU, where that is all of it."""

    ms: float
    host_ms: float | None = None


def timed(part: Part, device: torch.device, repeats: int) -> Timed:
    """On a CPU the median of so many calls; on CUDA the mean of as many and :data:`CALLS` at least, one behind the
    other, after warming up, and the median over ``repeats`` of the host's time.
    """
    if device.type != "cuda":
        return Timed(statistics.median(_seconds(part, lambda: None) for _ in range(repeats)) * 1e3)
    keep_busy(part, device)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    calls = max(repeats, CALLS)
    start.record()
    for _ in range(calls):
        part()
    end.record()
    synchronise(device)
    ms = max(start.elapsed_time(end) / calls, LEAST_SECONDS * 1e3)
    # One call at a time: a host that runs ahead is stopped where the queue is full.
    return Timed(ms, statistics.median(_seconds(part, lambda: synchronise(device)) for _ in range(repeats)) * 1e3)


def median_ms(part: Part, device: torch.device, repeats: int) -> float:
    """The milliseconds of :func:`timed`."""
    return timed(part, device, repeats).ms


def keep_busy(part: Part, device: torch.device) -> None:
    """Call a part for :data:`WARM_SECONDS`, each call ended on the device."""
    until = time.perf_counter() + WARM_SECONDS
    while time.perf_counter() < until:
        part()
        synchronise(device)


def as_graph(part: Part, device: torch.device) -> Part:
    """On CUDA: a part's work as a graph that the device replays; RuntimeError where it reads values meanwhile.

    Only for work on tensors that stay where they are.
    """
    side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            with waits() as waited:
                part()
    torch.cuda.current_stream(device).wait_stream(side)
    if waited:
        raise RuntimeError(f"it waits for the device at {waited[0]}")
    return capture(part)[0]


def _seconds(part: Part, before: Part) -> float:
    """Of one call, after ``before``."""
    before()
    start = time.perf_counter()
    part()
    return max(time.perf_counter() - start, LEAST_SECONDS)


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
