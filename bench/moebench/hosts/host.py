"""A host with its expert layers in place, and one call through it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from moebench.budgets.flops import nominal_routing
from moebench.contract import Context, Layer, Restricts, Routing
from moebench.errors import UnknownNameError

AS_IS = "as_is"
"""The rule of combination that every layer has: the weights of the experts that act do not change."""


@dataclass(frozen=True)
class Visit:
    """One layer in one pass, after it has routed and before its experts work: what a selection sees.

    index: of the layer, in the order of the pass. routing: that of ``x_BTD``, of the full layer.
    """

    index: int
    layer: Layer
    x_BTD: Tensor
    routing: Routing


Divided = Callable[[Layer, Tensor, Context, list[Routing]], Tensor]
"""(layer, x_bTD and context of this process's share, routings to add the whole batch's to) -> y_bTO of the share."""

Select = Callable[[Visit], Tensor | None]
"""A visit -> keep_BE, or None for all experts."""


Reroute = Callable[[Visit], Routing]
"""A visit -> the routing that its layer works by instead."""


@dataclass
class Call:
    """One forward pass: what was asked of the layers, and what they said, in order.

    reroute: other routes than the layers' own; what was selected is chosen by the layers' own.

    rule: how the experts that were selected are combined, one of :func:`rules_of` or "as_is".
    nominal: route at nominal load, to count FLOPs. routings: those of the full layers, whatever acts.
    inputs: x_BTD of each layer, kept only when asked for. divided: how a layer works where the batch is divided among
    processes, see ``training.ranks.division``; nothing is selected then. groups_BT: of the batch's tokens, for layers
    that may see them.
    """

    select: Select | None = None
    rule: str = AS_IS
    nominal: bool = False
    keep_inputs: bool = False
    routings: list[Routing] = field(default_factory=list)
    inputs: list[Tensor] = field(default_factory=list)
    divided: Divided | None = None
    groups_BT: Tensor | None = None
    reroute: Reroute | None = None


# Set for the length of one call only, so that nothing survives in the module: copies and pickles stay sound.
_CALL: ContextVar[Call | None] = ContextVar("call", default=None)


class Site(nn.Module):
    """Stands where the host had an MLP, and tells the call that asked about the layer's routing."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x_BTD: Tensor, context: Context | None = None) -> Tensor:
        """y_BTO of the layer; ``context``: what the host knows of the batch beside."""
        call, context = _CALL.get(), context or Context()
        if call is None:
            return self.layer.compute(x_BTD, self.layer.route(x_BTD, context))
        if call.groups_BT is not None:
            context = replace(context, group_ids_BT=call.groups_BT)
        if call.divided is not None:
            return call.divided(self.layer, x_BTD, context, call.routings)
        routing = nominal_routing(self.layer, x_BTD) if call.nominal else self.layer.route(x_BTD, context)
        visit = Visit(len(call.routings), self.layer, x_BTD, routing)
        call.routings.append(routing)
        if call.keep_inputs:
            call.inputs.append(x_BTD)
        keep_BE = call.select(visit) if call.select else None
        if call.reroute is not None:
            routing = call.reroute(visit)
        if keep_BE is not None and call.rule != AS_IS:
            routing = restrict(self.layer, x_BTD, routing, keep_BE, call.rule)
        return self.layer.compute(x_BTD, routing, keep_BE)


def rules_of(layer: Layer) -> tuple[str, ...]:
    """The rules of combination that a layer has beside "as is"."""
    return layer.rules if isinstance(layer, Restricts) else ()


def restrict(layer: Layer, x_BTD: Tensor, routing: Routing, keep_BE: Tensor, rule: str) -> Routing:
    """The routing of a subset under a rule; :class:`UnknownNameError` for one that the layer does not have."""
    if not isinstance(layer, Restricts) or rule not in layer.rules:
        raise UnknownNameError("combination rule", rule, rules_of(layer), where=type(layer).__name__)
    return layer.restrict(x_BTD, routing, keep_BE, rule)


@dataclass(frozen=True)
class HostOutput:
    """outputs: of each target (B, O), or (B, A, O) where it has several places. routings: one a layer, in the order of
    the pass.
    """

    outputs: Mapping[str, Tensor]
    routings: tuple[Routing, ...]


class Host(nn.Module, ABC):
    """A network with expert layers: a body that holds the sites, and one head for all targets together.

    targets: name -> number of outputs, in the order in which :meth:`head_outputs` has them side by side. shows_groups:
    whether the layers are shown the groups that a task hides.
    """

    def __init__(self, targets: Mapping[str, int]) -> None:
        super().__init__()
        self.targets = dict(targets)
        self.shows_groups = False

    @abstractmethod
    def attach(self, layers: list[Layer]) -> None:
        """Put the layers in their places, in the order of the forward pass."""

    @abstractmethod
    def head_outputs(self, x: Tensor) -> Tensor:
        """(B, ..., O) of a batch of inputs, O being the outputs of all targets, side by side."""

    def outputs(self, x: Tensor) -> dict[str, Tensor]:
        """Each target's outputs (B, ..., O) of a batch of inputs, of the kind that the host reads."""
        outputs = self.head_outputs(x)
        return dict(zip(self.targets, torch.split(outputs, list(self.targets.values()), -1), strict=True))

    def forward(self, x: Tensor, select: Select | None = None, rule: str = AS_IS) -> HostOutput:
        """One pass; ``select`` says which experts of each layer act, ``rule`` how they are combined."""
        call = Call(select=select, rule=rule)
        return HostOutput(self.run(x, call), tuple(call.routings))

    def run(self, x: Tensor, call: Call) -> dict[str, Tensor]:
        """Each target's outputs in one pass under ``call``, which collects what the layers say."""
        with _during(call):
            return self.outputs(x)

    def run_layers(self, inputs: Sequence[Tensor], call: Call) -> list[Tensor]:
        """The expert layers alone, each on its own x_BTD, as in a pass under ``call``; y_BTO of each."""
        with _during(call):
            return [site(x_BTD) for site, x_BTD in zip(self._sites(), inputs, strict=True)]

    def layers(self) -> list[Layer]:
        """The expert layers, in the order of the forward pass."""
        return [site.layer for site in self._sites()]

    def _sites(self) -> list[Site]:
        return [module for module in self.modules() if isinstance(module, Site)]


@contextmanager
def _during(call: Call) -> Iterator[None]:
    token = _CALL.set(call)
    try:
        yield
    finally:
        _CALL.reset(token)
