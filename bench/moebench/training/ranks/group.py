"""What the processes of one training tell each other."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

from moebench.training.ranks.world import World

T = TypeVar("T")


class Group(World):
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
        """This rank's share of a batch."""
        return rows[self.inputs(len(rows))]

    def mean(self, value: Tensor) -> Tensor:
        """The mean over ranks."""
        total = value.clone()
        dist.all_reduce(total)
        return total / self.size

    def any(self, said: bool) -> bool:
        """Whether one of the ranks says so."""
        flag = torch.tensor(said, dtype=torch.uint8)  # on the CPU: no step waits for a GPU
        dist.all_reduce(flag, dist.ReduceOp.MAX)
        return bool(flag)

    def first(self, value: T) -> T:
        """What rank 0 has; pickled."""
        box = [value]
        dist.broadcast_object_list(box)
        return box[0]
