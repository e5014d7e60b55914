"""A training that several processes share: each has a replica of the model, and its share of every batch."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

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
from moebench.training.ranks.world import RankGroup, Replica
from moebench.training.recipe import Recipe

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

PATIENCE = timedelta(minutes=30)
"""How long a rank waits for the others."""


class Ranks(RankGroup):
    """Weights, curves and buffers are to rounding those of one process with the same batch, and to the bit the same on
    all ranks.
    """

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
        losses = [loss for routing in call.routings for name, loss in routing.losses.items() if name in self.losses]
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
