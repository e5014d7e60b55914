"""A host with its expert layers in place, and one call through it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from torch import Tensor, nn

from moebench.contract import Layer, Routing

Select = Callable[[int, Routing], Tensor | None]
"""(index of the layer, its routing) -> keep_BE, or None for all experts."""


@dataclass
class Call:
    """One forward pass: what was asked of the layers, and what they said, in order.

    inputs: x_BTD of each layer, kept only when asked for. nominal: route at nominal load, to count FLOPs.
    """

    select: Select | None = None
    nominal: bool = False
    keep_inputs: bool = False
    routings: list[Routing] = field(default_factory=list)
    inputs: list[Tensor] = field(default_factory=list)


# Set for the length of one call only, so that nothing survives in the module: copies and pickles stay sound.
_CALL: ContextVar[Call | None] = ContextVar("call", default=None)


class Site(nn.Module):
    """Stands where the host had an MLP, and tells the call that asked about the layer's routing."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x_BTD: Tensor) -> Tensor:
        """y_BTO of the layer."""
        call = _CALL.get()
        if call is None:
            y_BTO: Tensor = self.layer(x_BTD)
            return y_BTO
        routing = self.layer.nominal_routing(x_BTD) if call.nominal else self.layer.route(x_BTD)
        index = len(call.routings)
        call.routings.append(routing)
        if call.keep_inputs:
            call.inputs.append(x_BTD)
        keep_BE = call.select(index, routing) if call.select else None
        return self.layer.compute(x_BTD, routing, keep_BE)


@dataclass(frozen=True)
class HostOutput:
    """``outputs["logits"]`` is (B, C); ``routings`` has one entry a layer, in the order of the pass."""

    outputs: dict[str, Tensor]
    routings: tuple[Routing, ...]


class Host(nn.Module, ABC):
    """A network with expert layers. A subclass builds a body from images to logits that holds the sites."""

    @abstractmethod
    def attach(self, layers: list[Layer]) -> None:
        """Put the layers in their places, in the order of the forward pass."""

    @abstractmethod
    def logits(self, x_NCHW: Tensor) -> Tensor:
        """Class scores (B, C) of a batch of images."""

    def forward(self, x_NCHW: Tensor, select: Select | None = None) -> HostOutput:
        """One pass; ``select`` maps each layer's routing to the experts that act."""
        call = Call(select=select)
        return HostOutput({"logits": self.run(x_NCHW, call)}, tuple(call.routings))

    def run(self, x_NCHW: Tensor, call: Call) -> Tensor:
        """Logits of one pass under ``call``, which collects what the layers say."""
        with _during(call):
            return self.logits(x_NCHW)

    def layers(self) -> list[Layer]:
        """The expert layers, in the order of the forward pass."""
        return [module.layer for module in self.modules() if isinstance(module, Site)]


@contextmanager
def _during(call: Call) -> Iterator[None]:
    token = _CALL.set(call)
    try:
        yield
    finally:
        _CALL.reset(token)
