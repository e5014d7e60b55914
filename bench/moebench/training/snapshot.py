"""The state of a training between two steps, as named tensors: enough to go on as if it had never stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from moebench.training.model_state import check_state, put_state, state_of

MODEL = "model/"
"""Begins the names of what is the model's."""


@dataclass(frozen=True)
class Snapshot:
    """What was taken after ``step`` steps. seconds: of training until then."""

    step: int
    seconds: float
    tensors: dict[str, Tensor]


class Keeper(Protocol):
    """Keeps snapshots. ``runner.checkpoints`` has the one that writes files."""

    def kept(self) -> Snapshot | None:
        """Where to go on from; None to begin."""

    def refuse(self, why: str) -> None:
        """What ``kept`` gave is not of this training."""

    def after(self, step: int, take: Callable[[int], Snapshot]) -> None:
        """Called after every step; may take a snapshot, and may end the training by an exception."""


@dataclass(frozen=True)
class TrainingState:
    """Everything that a step changes.

    generator: of the order of the data. curves: name -> tensor (S, ...), filled step by step. seen: other tensors, by
    name, that are filled meanwhile.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    curves: dict[str, Tensor]
    seen: Mapping[str, Tensor] = field(default_factory=dict)

    def tensors(self, step: int) -> dict[str, Tensor]:
        """A copy of the state after ``step`` steps, on the CPU."""
        found = {**self._of_optimizer(), **self._random()}
        found |= {f"curves/{name}": curve_S[:step] for name, curve_S in self.curves.items()}
        found |= {f"seen/{name}": tensor for name, tensor in self.seen.items()}
        copied = {name: tensor.detach().cpu().clone() for name, tensor in found.items()}
        return {f"{MODEL}{name}": tensor for name, tensor in state_of(self.model).items()} | copied

    def restore(self, snapshot: Snapshot) -> None:
        """Put a snapshot's state in place; ValueError, and nothing changed, if it is not of this training."""
        given = snapshot.tensors
        self._check(given, snapshot.step)
        with torch.no_grad():
            put_state(self.model, _of_model(given))
            for name, curve_S in self.curves.items():
                curve_S[: snapshot.step] = given[f"curves/{name}"].to(curve_S.device)
            for name, tensor in self.seen.items():
                tensor.copy_(given[f"seen/{name}"])
        for index, parameter in enumerate(self._trained()):
            prefix = f"optimizer/{index}/"
            state = {name.removeprefix(prefix): given[name] for name in given if name.startswith(prefix)}
            if state:
                self.optimizer.state[parameter] = {n: t.to(parameter.device) for n, t in state.items()}
        self.generator.set_state(given["random/data"])
        torch.set_rng_state(given["random/torch"])
        if "random/cuda" in given:
            torch.cuda.set_rng_state(given["random/cuda"], self._device())

    def _check(self, given: dict[str, Tensor], step: int) -> None:
        check_state(self.model, _of_model(given))
        wanted = self._random()
        wanted |= {f"curves/{name}": curve_S[:step] for name, curve_S in self.curves.items()}
        wanted |= {f"seen/{name}": tensor for name, tensor in self.seen.items()}
        for name, tensor in wanted.items():
            if name not in given or given[name].shape != tensor.shape or given[name].dtype != tensor.dtype:
                raise ValueError(f"'{name}' is missing or of another shape")
        known = {*wanted, *(name for name in given if name.startswith(("optimizer/", MODEL)))}
        if unknown := sorted(given.keys() - known):
            raise ValueError(f"'{unknown[0]}' is not part of it")

    def _trained(self) -> Iterator[Tensor]:
        for group in self.optimizer.param_groups:
            yield from group["params"]

    def _of_optimizer(self) -> dict[str, Tensor]:
        return {
            f"optimizer/{index}/{name}": value
            for index, parameter in enumerate(self._trained())
            for name, value in self.optimizer.state.get(parameter, {}).items()
        }

    def _random(self) -> dict[str, Tensor]:
        states = {"random/data": self.generator.get_state(), "random/torch": torch.get_rng_state()}
        if self._device().type == "cuda":
            states["random/cuda"] = torch.cuda.get_rng_state(self._device())
        return states

    def _device(self) -> torch.device:
        return next(self.model.parameters()).device


def _of_model(given: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(MODEL): tensor for name, tensor in given.items() if name.startswith(MODEL)}
