"""The one training loop. Every variant, task and seed goes through these lines."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from moebench.budgets.first_call import refuse_no_scalars
from moebench.contract import Layer, Routing
from moebench.hosts.host import Host
from moebench.tasks import Split, Stream, Values, augment_batch
from moebench.tasks.base import sent
from moebench.training.curve import POINTS, windows
from moebench.training.graphs import Backend, Graphed, Noted
from moebench.training.ranks.world import ALONE, World
from moebench.training.recipe import OPTIMISERS, Recipe
from moebench.training.routes import RouteWatch
from moebench.training.snapshot import Keeper, Snapshot, TrainingState

LOOK_EVERY = 50
"""Steps between two looks at whether the loss is still a number; on a GPU each look waits for the device."""


@dataclass(frozen=True)
class Curves:
    """What was measured at each step: loss_S of the task, in its unit, and mass_SLE summed over the batch.

    S ends early where training did; E is 0 where no layer has experts. validation_S: what ``watch`` gave, NaN at the
    steps in between; None without it. acted_SL: choices of all tokens that counted, where a layer's number of experts
    per token settles in training, else 0. seconds: of training, ``earlier`` ones, before an interruption, included.
    resumed_at: the step it went on from, 0 where it was not interrupted. graphs: whether its steps were one graph, or
    why they were not; empty where nothing was to capture them.
    """

    loss_S: np.ndarray
    mass_SLE: np.ndarray
    validation_S: np.ndarray | None = None
    acted_SL: np.ndarray | None = None
    seconds: float = 0.0
    earlier: float = 0.0
    resumed_at: int = 0
    graphs: str = ""

    @property
    def finite(self) -> bool:
        """Whether the loss stayed a number."""
        return bool(np.isfinite(self.loss_S).all())


Loss = Callable[[Values, Split], Tensor]
"""(outputs by target, the batch or a share of it) -> the scalar that is minimised, such as ``Task.loss``."""


Watch = Callable[[], Tensor]
"""-> the validation loss of the model as it is, a scalar."""


def train(
    model: Host,
    data: Split | Stream,
    recipe: Recipe,
    loss: Loss,
    keeper: Keeper | None = None,
    world: World = ALONE,
    watch: Watch | None = None,
    routes: RouteWatch | None = None,
    graphs: Backend | None = None,
) -> Curves:
    """Train in place, where the model is; stops early only if the loss is not finite.

    keeper: may have a snapshot of an interrupted training of this recipe; called after every step. world: the
    processes that train it together, each with the same model, data and recipe; the curves are those of all. watch:
    called at the points of the thin curve (``moebench.training.curve``); it must leave all random states as they are.
    routes: of fixed tokens, which are looked at meanwhile, on every rank. graphs: captures a whole step and replays it;
    only where ``moebench.training.graphs.why_not`` has nothing against it.
    """
    device = next(model.parameters()).device
    # Seeds beside those of the initial weights (seed and seed + 1, see hosts.build): of the layers' noise, and of the
    # order of the data, which is drawn on the CPU so that it is the same on every device.
    torch.manual_seed(recipe.seed + 2)
    generator = torch.Generator().manual_seed(recipe.seed + 3)
    layers = model.layers()
    curves = _Recorder(recipe.steps, layers, device, watched=watch is not None)
    watched = set(windows(recipe.steps, POINTS)[1:].tolist()) if watch else set()
    how = OPTIMISERS[recipe.optimiser]
    rate = _rate(recipe.lr, device, fixed=graphs is None)
    optimizer = torch.optim.AdamW(
        *(_groups(model, recipe.weight_decay), rate),
        betas=how.betas,
        fused=True,
        capturable=graphs is not None and device.type == "cuda",
    )
    model.train()
    batches = _batches(data, recipe, generator, device)
    training = TrainingState(model, optimizer, generator, curves.tensors, routes.tensors if routes else {})
    replica = world.replica(model, recipe)
    start, earlier = _go_on(training, keeper, world)
    clock = time.perf_counter()

    def learn(step: int, batch: Split | Tensor) -> list[Noted]:
        noted = []
        for part in _parts(data, batch, recipe):
            if recipe.augment:
                part = replace(part, inputs=augment_batch(part.inputs, recipe.augment, generator))
            call, own = replica.call(step), part.each(world.own)
            call.groups_BT = own.groups_NT if model.shows_groups else None
            with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
                of_task = loss(replica.run(own.inputs, call), own)
            share = len(part) / recipe.batch
            torch.autograd.backward((of_task + auxiliary(call.routings, recipe.loss_weights)) * share)
            noted.append(curves.note(world.mean(of_task.detach()) * share, call.routings))
        if how.clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), how.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        for layer in layers:
            layer.after_step()
        return noted

    graphed = None if graphs is None else Graphed(partial(learn, start), model, graphs)
    for step, batch in enumerate(batches(start), start):
        _set_rate(optimizer, recipe.lr * how.schedule(step, recipe.steps))
        for noted in learn(step, batch) if graphed is None else graphed.step(batch):
            curves.add(step, noted)
        if watch and step + 1 in watched:
            before = time.perf_counter()
            curves.watch(step, watch())
            clock += time.perf_counter() - before  # it is no part of training
        if (step + 1) % LOOK_EVERY == 0 and not curves.finite_at(step):
            break
        if routes is not None:
            routes.after(step + 1)
        if keeper is not None:
            keeper.after(step + 1, partial(_taken, training, earlier - clock))
    model.eval()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    seconds = max(earlier, earlier + time.perf_counter() - clock)
    return replace(curves.done(seconds, earlier, start), graphs=graphed.how if graphed else "")


def _rate(lr: float, device: torch.device, *, fixed: bool) -> float | Tensor:
    """The learning rate; a tensor where a graph is to read what it is at each replay, in CUDA's kernels as float32."""
    if fixed:
        return lr
    return torch.tensor(lr, dtype=torch.float32 if device.type == "cuda" else torch.float64, device=device)


def _set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr


def _go_on(training: TrainingState, keeper: Keeper | None, world: World) -> tuple[int, float]:
    """Restore what rank 0's keeper has; returns the steps that are done and the seconds that they took."""
    snapshot = world.first(keeper.kept() if keeper else None)
    if snapshot is None:
        return 0, 0.0
    try:
        training.restore(snapshot)
    except ValueError as error:
        if keeper is not None:
            keeper.refuse(str(error))
        return 0, 0.0
    return snapshot.step, snapshot.seconds


def _taken(training: TrainingState, origin: float, step: int) -> Snapshot:
    """origin: what the clock's reading is counted from, negative."""
    return Snapshot(step, origin + time.perf_counter(), training.tensors(step))


def auxiliary(routings: list[Routing], weights: Mapping[str, float]) -> Tensor | float:
    """The auxiliary losses, added here and nowhere else: sum over names of weight x mean over layers."""
    total: Tensor | float = 0.0
    for name, weight in weights.items():
        values = [routing.losses[name] for routing in routings if name in routing.losses]
        for value in values:
            refuse_no_scalars("the layer", {name: value})
        if weight and values:
            total = total + weight * torch.stack(values).mean()
    return total


def _parts(data: Split | Stream, batch: Split | Tensor, recipe: Recipe) -> Iterator[Split]:
    """The micro-batches of a batch, which is given itself or by the places of its inputs in the data."""
    size = recipe.micro_batch or recipe.batch
    if isinstance(batch, Split):
        return iter(batch.batches(size))
    assert isinstance(data, Split)
    return (data[picked] for picked in torch.split(batch, size))


def _batches(
    data: Split | Stream, recipe: Recipe, generator: torch.Generator, device: torch.device
) -> Callable[[int], Iterator[Split | Tensor]]:
    """The batches from a step on: fresh from a stream, or by their places, one permutation of the data after the other.

    Permutations are drawn at once; a stream's batches depend on the generator's state at each step.
    """
    if isinstance(data, Stream):
        drawn = partial(data.draw, recipe.batch, generator)
        return lambda start: (drawn().each(partial(sent, device=device)) for _ in range(start, recipe.steps))
    inputs, needed = len(data), recipe.steps * recipe.batch
    order = [torch.randperm(inputs, generator=generator) for _ in range(math.ceil(needed / inputs))]
    steps = torch.split(torch.cat(order)[:needed].to(device), recipe.batch)
    return lambda start: iter(steps[start:])


def _groups(model: Host, weight_decay: float) -> list[dict[str, object]]:
    """Weight decay for matrices, none for vectors; a stack of E vectors is still vectors."""
    stacked: set[int] = set()
    for layer in model.layers():
        of_experts = layer.expert_parameters()
        stacked |= {id(parameter) for name, parameter in layer.named_parameters() if name in of_experts}
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for parameter in model.parameters():
        if parameter.requires_grad:
            axes = parameter.ndim - (id(parameter) in stacked)
            (decayed if axes >= 2 else free).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]


class _Recorder:
    """Collects the curves on the device, so that no step waits for a number."""

    def __init__(self, steps: int, layers: list[Layer], device: torch.device, *, watched: bool) -> None:
        experts = max((layer.num_experts for layer in layers), default=0)
        self._loss_S = torch.zeros(steps, device=device)
        self._mass_SLE = torch.zeros(steps, len(layers), experts, device=device)
        self._acted_SL = torch.zeros(steps, len(layers), device=device)
        self._settles = [layer.number_settles for layer in layers]
        self._validation_S = torch.full((steps if watched else 0,), math.nan, device=device)
        self._steps = 0

    def watch(self, step: int, loss: Tensor) -> None:
        self._validation_S[step] = loss

    def note(self, loss: Tensor, routings: list[Routing]) -> Noted:
        """What a micro-batch leaves."""
        masses = [None if routing.mass_BE is None else routing.mass_BE.detach().sum(0) for routing in routings]
        acted = [
            routing.load_BE.sum() if settles and routing.load_BE is not None else None
            for settles, routing in zip(self._settles, routings, strict=False)
        ]
        return loss, masses, acted

    def add(self, step: int, noted: Noted) -> None:
        loss, masses, acted = noted
        self._steps = step + 1
        self._loss_S[step].add_(loss)
        for index, (mass_E, count) in enumerate(zip(masses, acted, strict=True)):
            if mass_E is not None:
                self._mass_SLE[step, index, : len(mass_E)].add_(mass_E)
            if count is not None:
                self._acted_SL[step, index].add_(count)

    @property
    def tensors(self) -> dict[str, Tensor]:
        watched = {"validation_S": self._validation_S} if len(self._validation_S) else {}
        settling = {"acted_SL": self._acted_SL} if any(self._settles) else {}
        return {"loss_S": self._loss_S, "mass_SLE": self._mass_SLE, **watched, **settling}

    def finite_at(self, step: int) -> bool:
        return bool(self._loss_S[step].isfinite())

    def done(self, seconds: float, earlier: float, resumed_at: int) -> Curves:
        steps = max(self._steps, resumed_at)  # all of them may have been done before
        loss_S, mass_SLE = self._loss_S[:steps], self._mass_SLE[:steps]
        validation_S = self._validation_S[:steps].cpu().numpy() if len(self._validation_S) else None
        acted_SL = self._acted_SL[:steps].cpu().numpy()
        return Curves(
            loss_S.cpu().numpy(), mass_SLE.cpu().numpy(), validation_S, acted_SL, seconds, earlier, resumed_at
        )
