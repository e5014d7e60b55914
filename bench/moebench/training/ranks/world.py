"""One training in one process, or in several that share every batch: what the loop asks of either."""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor

from moebench.hosts.host import Call, Host
from moebench.tasks import Values
from moebench.training.recipe import Recipe

T = TypeVar("T")


class World:
    """One process, which has the whole batch. rank: its number, from 0. size: how many there are."""

    rank, size = 0, 1

    def own(self, rows: Tensor) -> Tensor:
        """This rank's share of a batch: rows in their order, as many for each rank."""
        return rows

    def mean(self, value: Tensor) -> Tensor:
        """The mean over ranks."""
        return value

    def any(self, said: bool) -> bool:
        """Whether one of the ranks says so; all hear the same."""
        return said

    def first(self, value: T) -> T:
        """What rank 0 has."""
        return value

    def replica(self, model: Host, recipe: Recipe) -> Replica:
        """The model as it is trained here; :class:`UsageError` where a batch cannot be shared equally."""
        return Replica(model)


class Replica:
    """A model in training."""

    def __init__(self, model: Host) -> None:
        self._model = model

    def call(self, step: int) -> Call:
        """What a pass of a step is run under."""
        return Call()

    def run(self, x: Tensor, call: Call) -> Values:
        """Outputs by target."""
        return self._model.run(x, call)


ALONE = World()
