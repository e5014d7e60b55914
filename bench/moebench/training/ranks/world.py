"""One training in one process, or in several that share every batch: what the loop asks of either."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import torch

# The defaults of its functions hold the group that there is when it is first imported, and DDP imports it: a group held
# so would outlive its block, until the interpreter ends, where its threads may abort the process.
import torch.distributed.nn
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from moebench.hosts.host import Call, Host
from moebench.tasks import Values
from moebench.training.ranks import check_shares
from moebench.training.ranks.division import Division

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

    from moebench.training.loop import Recipe

T = TypeVar("T")

PATIENCE = timedelta(minutes=30)
"""How long a rank waits for the others."""


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


class Ranks(World):
    """Several processes, each with a replica of the model and its share of every batch; see ``training.division``.

    Weights, curves and buffers are to rounding those of one process with the same batch, and to the bit the same on all
    ranks. gathering: the process group that layers gather in; DDP reduces gradients meanwhile, in another.
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

    def replica(self, model: Host, recipe: Recipe) -> Replica:
        """The model, its gradients averaged over ranks in every backward pass."""
        check_shares(recipe.batch, recipe.micro_batch, self.size)
        return _Shared(model, recipe, self)


class _Shared(Replica):
    def __init__(self, model: Host, recipe: Recipe, world: Ranks) -> None:
        super().__init__(model)
        self._division = Division(world, recipe.seed)
        wanted = frozenset(name for name, weight in recipe.loss_weights.items() if weight)
        with warnings.catch_warnings():
            # Of a torch that renames the option about buffers, which its older versions know by this name alone.
            warnings.simplefilter("ignore", FutureWarning)
            # Buffers need no broadcast: every rank makes the same of the whole batch. A loss without a weight, or an
            # expert without tokens, may leave parameters without a gradient.
            self._parallel = DistributedDataParallel(
                _Pass(model, wanted), broadcast_buffers=False, find_unused_parameters=True
            )

    def call(self, step: int) -> Call:
        return Call(divided=self._division.at(step))

    def run(self, x: Tensor, call: Call) -> Values:
        outputs: Values = self._parallel(x, call)[0]
        return outputs


class _Pass(nn.Module):
    """A pass as DDP sees it: everything that a gradient comes from is in what it returns."""

    def __init__(self, model: Host, losses: frozenset[str]) -> None:
        super().__init__()
        self.model, self.losses = model, losses

    def forward(self, x: Tensor, call: Call) -> tuple[dict[str, Tensor], list[Tensor]]:
        outputs = self.model.run(x, call)
        losses = [loss for said in call.routings for name, loss in said.losses.items() if name in self.losses]
        return outputs, losses


@contextmanager
def joined(device: torch.device, store: Store | None = None, rank: int = -1, size: int = -1) -> Iterator[Ranks]:
    """The ranks of this training, until the end of the block: those that meet at ``store``, or those of torchrun.

    Of a script under torchrun: ``with joined(device) as world: train(model, data, recipe, loss, world=world)``.
    Gradients go through nccl on CUDA, where ``device`` must be the rank's own, and through gloo on the CPU.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)
    try:
        world = Ranks()
        try:
            yield world
        finally:
            # A group ends when nothing holds it: the block's variable would hold this one until the interpreter ends.
            del world.gathering
    finally:
        dist.destroy_process_group()
