"""One training in one process, or in several that share every batch: what the loop asks of either."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

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

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on one of the ranks; the same on all."""
        return flag

    def first(self, value: T) -> T:
        """What rank 0 has; pickled."""
        return value

    def replica(self, model: Host, recipe: Recipe) -> Replica:
        """The model as it is trained here; :class:`UsageError` where a batch cannot be shared equally."""
        return Replica(model)


class RankGroup(World):
    """Several processes, each with its share of every batch.

    gathering: the process group that layers gather in; DDP reduces gradients meanwhile, in another.
    """

    def __init__(self) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        gathering = dist.new_group()
        assert isinstance(gathering, dist.ProcessGroup)
        self.gathering = gathering

    def inputs(self, batch: int) -> slice:
        """Which of a batch are this rank's."""
        share = batch // self.size
        return slice(self.rank * share, (self.rank + 1) * share)

    def own(self, rows: Tensor) -> Tensor:
        """This rank's share."""
        return rows[self.inputs(len(rows))]

    def mean(self, value: Tensor) -> Tensor:
        """By an all-reduce."""
        total = value.clone()
        dist.all_reduce(total)
        return total / self.size

    def any(self, flag: bool) -> bool:
        """By an all-reduce."""
        most = torch.tensor(flag, dtype=torch.uint8)  # on the CPU: no step waits for a GPU
        dist.all_reduce(most, dist.ReduceOp.MAX)
        return bool(most)

    def first(self, value: T) -> T:
        """By a broadcast."""
        box = [value]
        dist.broadcast_object_list(box)
        return box[0]


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
