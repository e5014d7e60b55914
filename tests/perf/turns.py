"""Rivals timed in turns inside one pytest-benchmark benchmark, so that what disturbs the machine meets all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from moebench.measures.clock import CALLS, Spread, as_graph, spread, synchronise
from moebench.text import told

Work = Callable[[], object]
Way = Callable[[nn.Module, Tensor], Work]
WARM_UP = 2


@dataclass(frozen=True)
class Rival:
    """One that took turns with ours. ms: its milliseconds. ratio: its time over ours, round by round."""

    ms: Spread
    ratio: Spread


def take_turns(
    benchmark: Any, ours: Work, rivals: Mapping[str, Work], device: torch.device, rounds: int
) -> tuple[Spread, dict[str, Rival]]:
    """Ours is what the benchmark times; before each of its rounds each rival has one. Warm-up rounds do not count. On
    CUDA a round has many calls, so that the device, and not how soon a call starts there, is timed.
    """
    calls = CALLS if device.type == "cuda" else 1
    seconds: dict[str, list[float]] = {name: [] for name in rivals}

    def round_of(work: Work) -> None:
        for _ in range(calls):
            work()
        synchronise(device)

    def others() -> None:
        for name, work in rivals.items():
            synchronise(device)
            start = time.perf_counter()
            round_of(work)
            seconds[name].append((time.perf_counter() - start) / calls)

    benchmark.pedantic(lambda: round_of(ours), setup=others, rounds=rounds, warmup_rounds=WARM_UP, iterations=1)
    mine = [each / calls for each in benchmark.stats.stats.data]
    found = {}
    for name, theirs in seconds.items():
        counted = theirs[-len(mine) :]
        ratios = [one / other for one, other in zip(counted, mine, strict=True)]
        found[name] = Rival(spread([1e3 * s for s in counted]), spread(ratios))
    return spread([1e3 * s for s in mine]), found


def _autocast(x_BTD: Tensor) -> torch.autocast:
    """Of inputs in bfloat16, for all layers alike."""
    return torch.autocast(x_BTD.device.type, torch.bfloat16, enabled=x_BTD.dtype == torch.bfloat16)


def forward(layer: nn.Module, x_BTD: Tensor) -> Work:
    """A pass without gradients, under autocast where the inputs are in bfloat16."""

    def work() -> None:
        with torch.no_grad(), _autocast(x_BTD):
            layer(x_BTD)

    return work


def forward_and_backward(layer: nn.Module, x_BTD: Tensor) -> Work:
    """A pass, as of :func:`forward`, and the gradients to inputs and parameters, which are thrown away, as by an
    optimiser's step.
    """
    parameters = [parameter for parameter in layer.parameters() if parameter.requires_grad]
    x_BTD, probe_BTD = x_BTD.clone().requires_grad_(), torch.randn_like(x_BTD)

    def work() -> None:
        with _autocast(x_BTD):
            y_BTD = layer(x_BTD)
        y_BTD.backward(probe_BTD.to(y_BTD.dtype))
        for tensor in (x_BTD, *parameters):
            tensor.grad = None

    return work


def graphed(layer: nn.Module, x_BTD: Tensor) -> Work:
    """On CUDA: what :func:`forward_and_backward` does, as a graph whose gradients stay in its own memory; RuntimeError
    of a layer that reads values meanwhile.
    """
    return as_graph(forward_and_backward(layer, x_BTD), x_BTD.device)


PASSES: Mapping[str, Way] = {"forward": forward, "forward + backward": forward_and_backward}

GRAPH = "forward + backward, graph"
"""For CUDA."""

WAYS: Mapping[str, Way] = {**PASSES, GRAPH: graphed}


def works_of(
    makers: Mapping[str, Callable[[], nn.Module]], way: str, x_BTD: Tensor
) -> tuple[dict[str, Work], dict[str, str]]:
    """The work of each layer, which is made where the tokens are, and why others have none.

    On a CPU what fails raises. Elsewhere it is told: what others install may not go with this torch, or memory.
    """
    works, absent = {}, {}
    for name, make in makers.items():
        try:
            with x_BTD.device:
                layer = make()
            work = WAYS[way](layer.to(x_BTD.device), x_BTD)
            if x_BTD.device.type != "cpu":
                work()
        except Exception as error:
            if x_BTD.device.type == "cpu":
                raise
            absent[name] = told(error)
        else:
            works[name] = work
    return works, absent
