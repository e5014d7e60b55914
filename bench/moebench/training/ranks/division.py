"""An expert layer whose batch is divided among processes: each routes the whole batch and computes its share.

    B inputs of the whole batch   b of this process's share

Auxiliary losses, and the counts of a layer that balances itself, are no sums over inputs: a mean over processes of
what each makes of its share differs from what one process makes of the batch. So every process gathers x_BTD, routes
the whole batch, and takes the part of its share from the routing; its experts work on the share alone. Losses, masses,
buffers, noise and capacity are then those of one process. What ``compute`` draws at random, or a norm over the batch in
it, is that of the share: such a layer agrees with one process in distribution only. A layer whose ``compute`` changes
buffers, or whose routing cannot be divided, is refused in the first pass. The router's work and memory are not divided.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist
from torch.utils._pytree import tree_leaves

from moebench.contract import Context, Layer, Routing
from moebench.errors import UsageError
from moebench.training.ranks.world import RankGroup
from moebench.training.seeds import derive_seed

APART = 0.02
"""Of the norm of a share's output: by less, two ways to compute it differ in rounding, bfloat16's included."""


class Division:
    """A ``hosts.host.Divided`` of one training. seed: of what ``compute`` draws."""

    def __init__(self, world: RankGroup, seed: int) -> None:
        self._world, self._seed = world, seed
        self._step = self._visits = 0
        self._checked: set[Layer] = set()

    def at(self, step: int) -> Division:
        """Itself, for a pass of a step."""
        if step != self._step:
            self._step, self._visits = step, 0
        return self

    def __call__(self, layer: Layer, x_bTD: Tensor, context: Context, routings: list[Routing]) -> Tensor:
        """y_bTO of the share; adds the whole batch's routing."""
        x_BTD: Tensor = _Gathered.apply(x_bTD, self._world)
        routing = layer.route(x_BTD, self._whole(context))
        routings.append(routing)
        first = layer not in self._checked
        if first:
            self._checked.add(layer)
            self._check_divisible(layer, x_bTD, x_BTD, routing)
        before = [buffer._version for buffer in layer.buffers()] if first else []
        y_bTO = self._computed(layer, x_bTD, x_BTD, routing)
        if first and self._world.any(before != [buffer._version for buffer in layer.buffers()]):
            raise _refused(layer, "its compute() changes buffers, which would differ between ranks")
        return _Tied.apply(y_bTO, x_BTD) if _learns(routing) else y_bTO

    def _whole(self, context: Context) -> Context:
        """What is known of the whole batch."""
        tensors = (context.token_mask_BT, context.token_ids_BT, context.group_ids_BT)
        return Context(*(None if each is None else _gathered(each, self._world) for each in tensors))

    def _computed(self, layer: Layer, x_bTD: Tensor, x_BTD: Tensor, routing: Routing) -> Tensor:
        part = part_of(layer, x_BTD, routing, self._world.inputs(len(x_BTD)))
        self._visits += 1
        with _drawing(derive_seed(self._seed, "compute", self._step, self._visits, self._world.rank), x_bTD.device):
            return layer.compute(x_bTD, part)

    @torch.no_grad()
    def _check_divisible(self, layer: Layer, x_bTD: Tensor, x_BTD: Tensor, routing: Routing) -> None:
        """Compare the share's output by its part of the routing with the share of the whole output."""
        inputs = self._world.inputs(len(x_BTD))
        layer.eval()  # without dropout
        try:
            want_bTO = layer.compute(x_BTD, routing)[inputs].float()
            try:
                got_bTO = layer.compute(x_bTD, part_of(layer, x_BTD, routing, inputs)).float()
                differs = bool((got_bTO - want_bTO).norm() > APART * want_bTO.norm())  # not so where both are NaN
            except Exception:
                differs = True
        finally:
            layer.train()
        if self._world.any(differs):
            raise _refused(layer, "its routing cannot be divided by inputs (see part_of in moebench.contract.Layer)")


def part_of(layer: Layer, x_BTD: Tensor, routing: Routing, inputs: slice) -> Routing:
    """The routing of some inputs, as it was decided among all of x_BTD: for ``compute(x_BTD[inputs], part)``.

    By the layer's own ``part_of``, else by taking the rows of every tensor of the routing and of its state that has one
    for each input. The losses stay those of all.
    """
    own: Callable[[Tensor, Routing, slice], Routing] | None = getattr(layer, "part_of", None)
    if own is not None:
        return own(x_BTD, routing, inputs)
    part: Routing = _rows(dataclasses.replace(routing, losses={}), inputs, len(x_BTD))
    return dataclasses.replace(part, losses=routing.losses)


def _rows(value: Any, inputs: slice, batch: int) -> Any:
    """``value`` with the rows of ``inputs`` of every tensor in it that has one for each of a ``batch`` of inputs.

    Looks into mappings, lists, tuples and dataclasses; all else stays as it is.
    """
    if isinstance(value, Tensor):
        return value[inputs] if value.ndim and len(value) == batch else value
    if isinstance(value, Mapping):
        return {key: _rows(each, inputs, batch) for key, each in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_rows(each, inputs, batch) for each in value))
    if isinstance(value, list | tuple):
        return type(value)(_rows(each, inputs, batch) for each in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [each.name for each in dataclasses.fields(value) if each.init]
        return dataclasses.replace(value, **{name: _rows(getattr(value, name), inputs, batch) for name in names})
    return value


def _refused(layer: Layer, why: str) -> UsageError:
    name = type(layer).__name__
    return UsageError(
        f"{name} cannot be trained by several ranks: {why}; train it with --ranks 1.",
        code="layer-not-divisible",
        layer=name,
    )


def _learns(routing: Routing) -> bool:
    """Whether a gradient may come back through the routing, as far as can be seen; the same on all ranks."""
    weights = [routing.weight_BTK, routing.weight_BEc, routing.combine_BTS]
    leaves = tree_leaves([routing.losses, weights, routing.state])
    plain = Tensor | bool | int | float | str | None
    return any(leaf.requires_grad if isinstance(leaf, Tensor) else not isinstance(leaf, plain) for leaf in leaves)


@contextmanager
def _drawing(seed: int, device: torch.device) -> Iterator[None]:
    """Draw from ``seed`` inside; outside, the default generator goes on as if nothing had been drawn."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _gathered(rows_b: Tensor, world: RankGroup) -> Tensor:
    """The rows of all ranks, in their order."""
    rows_B = rows_b.new_empty(len(rows_b) * world.size, *rows_b.shape[1:])
    dist.all_gather_into_tensor(rows_B, rows_b.contiguous(), group=world.gathering)
    return rows_B


class _Gathered(torch.autograd.Function):
    """x_BTD of all ranks, in their order; the gradient of a rank's rows is the sum of what all ranks have for them.

    DDP divides the sum over ranks of a parameter's gradients by their number. With that, the gradient of anything is
    that of the mean over ranks of their losses.
    """

    @staticmethod
    def forward(ctx: Any, x_bTD: Tensor, world: RankGroup) -> Tensor:
        ctx.world = world
        return _gathered(x_bTD, world)

    @staticmethod
    def backward(ctx: Any, grad_BTD: Tensor) -> tuple[Tensor, None]:
        # In float32, as DDP has it, and as a sum of all rows: gloo knows no reduce-scatter.
        total_BTD = grad_BTD.to(torch.promote_types(grad_BTD.dtype, torch.float32), copy=True).contiguous()
        dist.all_reduce(total_BTD, group=ctx.world.gathering)
        return total_BTD[ctx.world.inputs(len(total_BTD))].to(grad_BTD.dtype), None


class _Tied(torch.autograd.Function):
    """y_bTO, whose gradient reaches x_BTD as zeros.

    :class:`_Gathered` adds up over all ranks in its backward pass, so all of them must come there, whatever a rank's
    share of the routing was used for.
    """

    @staticmethod
    def forward(ctx: Any, y_bTO: Tensor, x_BTD: Tensor) -> Tensor:
        ctx.like = x_BTD.shape, x_BTD.dtype
        return y_bTO.view_as(y_bTO)

    @staticmethod
    def backward(ctx: Any, grad_bTO: Tensor) -> tuple[Tensor, Tensor]:
        shape, dtype = ctx.like
        return grad_bTO, grad_bTO.new_zeros(shape, dtype=dtype)
