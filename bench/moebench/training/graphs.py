"""A whole training step as one CUDA graph: its kernels start together instead of one after the other.

The first steps run as ever, on a stream of their own; then one is captured, and replayed for each that follows. What
differs between steps is in two tensors that are written before a replay: which inputs, and the learning rate. Where a
step cannot be captured, training goes on as without a graph, and :attr:`Graphed.how` says why. A step that waits for
the device is seen before it is tried: a capture that fails leaves more behind than can be put back.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import copy
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from moebench.tasks import Split, Stream
from moebench.text import told
from moebench.training.model_state import PLAIN, in_place
from moebench.training.ranks.world import ALONE, World
from moebench.training.recipe import Recipe

WARM = 3
"""Steps before the one that is captured, in which kernels are loaded and the optimiser's state is made."""

CAPTURED = "captured"

Noted = tuple[Tensor, list[Tensor | None], list[Tensor | None]]
"""Of a micro-batch: its share of the loss; by layer, mass_E and the choices that count."""

Value = TypeVar("Value")

Learn = Callable[[Tensor], list[Noted]]
"""(the places in the data of a step's inputs) -> what its micro-batches leave for the curves."""


class Backend(Protocol):
    """What captures and replays. ``tests/support/replay.py`` has one that needs no GPU."""

    def warm(self) -> AbstractContextManager[list[str]]:
        """Around a step before the one that is captured; afterwards the list has what waited for the device."""

    def capture(self, body: Callable[[], list[Noted]]) -> tuple[Callable[[], None], list[Noted]]:
        """(replay, what the body returned, whose tensors each replay writes again); the body is not executed."""


class CudaBackend:
    """CUDA's graphs."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    @contextmanager
    def warm(self) -> Iterator[list[str]]:
        """On the stream on which the graph is captured."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream), waits() as seen:
            yield seen
        torch.cuda.current_stream().wait_stream(self._stream)

    def capture(self, body: Callable[[], list[Noted]]) -> tuple[Callable[[], None], list[Noted]]:
        """An error for anything that waits for the device, or that a graph cannot hold."""
        torch.cuda.synchronize()
        return capture(body, self._stream)


def capture(body: Callable[[], Value], stream: torch.cuda.Stream | None = None) -> tuple[Callable[[], None], Value]:
    """(replay, what the body returned); after an error the stream is as before, and torch draws random numbers outside
    of graphs again.
    """
    graph, device, before = torch.cuda.CUDAGraph(), torch.cuda.current_device(), torch.cuda.current_stream()
    try:
        with torch.cuda.graph(graph, stream=stream):
            value = body()
    except BaseException:
        torch.cuda.set_stream(before)  # older versions of torch leave the stream of the capture
        # A capture that fails leaves the generator waiting for its end; a copy of its state does not wait.
        generator = torch.cuda.default_generators[device]
        generator.graphsafe_set_state(generator.clone_state())
        raise
    return graph.replay, value


@contextmanager
def waits() -> Iterator[list[str]]:
    """Afterwards the list has the lines of Python at which the host waited for the GPU inside.

    What waits in a backward pass is told at the line of torch that began that pass.
    """
    seen = list[str]()
    mode = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")  # which warns of itself
        try:
            yield seen
        finally:
            torch.cuda.set_sync_debug_mode(mode)
    for warning in caught:
        if "synchronizing CUDA operation" in str(warning.message):
            seen.append(f"{Path(warning.filename).name}:{warning.lineno}")
        elif "prototype feature" not in str(warning.message):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def why_not(data: Split | Stream, recipe: Recipe, world: World, device: torch.device) -> str:
    """Why a training's steps are no graph; empty where they may be one."""
    if device.type != "cuda":
        return "the device is no GPU"
    if world is not ALONE:
        return "several ranks train it"
    if isinstance(data, Stream) or recipe.augment:
        return "its inputs are drawn step by step"
    return ""


class Graphed:
    """Steps of a model by ``learn``. how: ``captured``, or why they are not."""

    def __init__(self, learn: Learn, model: nn.Module, backend: Backend) -> None:
        self._learn, self._model, self._backend = learn, model, backend
        self._done = 0
        self._replay: Callable[[], None] | None = None
        self._picked_B = torch.empty(0, dtype=torch.int64)
        self._noted = list[Noted]()
        self._state: object = None
        self.how = ""

    def step(self, picked_B: Tensor | Split) -> list[Noted]:
        """One step on the inputs at these places of the data."""
        assert isinstance(picked_B, Tensor)  # see why_not
        if self._replay is None and not self.how and self._done >= WARM:
            self._capture(picked_B)
        if self._replay is not None:
            self._picked_B.copy_(picked_B)
            self._replay()
            return self._noted
        with self._backend.warm() if not self.how else nullcontext(list[str]()) as waited:
            noted = self._learn(picked_B)
        self._done += 1
        if waited and self._done == WARM:
            self.how = f"not captured: it waits for the device at {waited[0]}"
        if not self.how and self._done >= WARM - 1:
            before, self._state = self._state, state_between(self._model)
            if self._done == WARM and before != self._state:
                self.how = "not captured: a layer keeps numbers in Python, or replaces its buffers, at each step"
        return noted

    def _capture(self, picked_B: Tensor) -> None:
        self._picked_B = picked_B.clone()
        put_back = attributes(self._model)
        try:
            self._replay, self._noted = self._backend.capture(lambda: self._learn(self._picked_B))
        except Exception as error:  # whatever a layer does that a graph cannot hold
            self.how = f"not captured: {told(error)}"
            put_back()
            for parameter in self._model.parameters():
                parameter.grad = None
        else:
            self.how = CAPTURED


def state_between(model: nn.Module) -> tuple[dict[str, int], dict[str, object]]:
    """What a graph would freeze: where parameters and buffers lie, and plain attributes of modules."""
    plain = {
        f"{place}.{name}": value
        for place, module in model.named_modules()
        for name, value in vars(module).items()
        if type(value) in PLAIN
    }
    return {name: tensor.data_ptr() for name, tensor in in_place(model).items()}, plain


def attributes(model: nn.Module) -> Callable[[], None]:
    """What puts back the attributes that modules have now, and what is in their lists, dicts, sets and deques.

    Tensors are not copied: what a capture made of them was never computed.
    """
    held = [(vars(module), dict(vars(module))) for module in model.modules()]
    contents = dict[int, tuple[Any, Any]]()
    below: list[Any] = [value for _, before in held for value in before.values()]
    while below:
        value = below.pop()
        if isinstance(value, list | dict | set | deque) and id(value) not in contents:
            contents[id(value)] = value, copy(value)
        if isinstance(value, list | tuple | dict | deque):
            below += value.values() if isinstance(value, dict) else value

    def put_back() -> None:
        for now, before in [*held, *contents.values()]:
            now.clear()
            if isinstance(now, list | deque):
                now.extend(before)
            else:
                now.update(before)

    return put_back
