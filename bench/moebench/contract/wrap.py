"""Any ``nn.Module`` as a variant, in one call."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import Tensor, nn

from moebench.contract.layer import Layer, Routing
from moebench.contract.shape import LayerShape
from moebench.contract.space import Choice, Settings, Space
from moebench.contract.traits import Traits

if TYPE_CHECKING:
    from moebench.budgets import Budget

Factory = Callable[[int, int], nn.Module]

HIDDEN = Traits(
    experts="none", mass="none", single_expert="none", single_expert_reason="a wrapped module hides its experts"
)


def wrap(
    factory: Factory, *, name: str | None = None, aux_weight: float | None = None, causal: bool = False
) -> WrappedVariant:
    """Make a variant of ``factory(dim, hidden) -> module``, where the module returns y_BTO or (y_BTO, aux).

    The harness solves for ``hidden``. The layer is trained, budgeted, timed and ranked; without a routing that the
    harness can see, its specialization is n/a. ``aux`` is a scalar loss, added with weight ``aux_weight``,
    which such a module needs. ``causal`` claims that y_t depends on x_1 ... x_t only, for hosts that need it.
    """
    if name is None:
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", getattr(factory, "__name__", "wrapped"))
        name = re.sub(r"\W+", "_", words).strip("_").lower()
        name = "wrapped" if name == "lambda" else name
    traits = dataclasses.replace(HIDDEN, causal=causal)
    return WrappedVariant(name=name, factory=factory, aux_weight=aux_weight, traits=traits)


@dataclasses.dataclass(frozen=True)
class WrappedVariant:
    """The variant that :func:`wrap` returns."""

    name: str
    factory: Factory
    aux_weight: float | None = None
    traits: Traits = HIDDEN

    def space(self, shape: LayerShape, budget: Budget) -> Space:
        """Nothing to tune beside what all variants share."""
        return Space() if self.aux_weight is None else Space({"loss/aux": Choice((self.aux_weight,))})

    def build(self, shape: LayerShape, size: int, settings: Settings) -> Layer:
        """Call the factory; ``size`` is its ``hidden``."""
        if shape.dim != shape.out_dim:
            raise ValueError(
                f"{self.name}: a wrapped module keeps its width, the host asks {shape.dim}->{shape.out_dim}"
            )
        return _WrappedLayer(self.name, self.factory(shape.dim, size), self.aux_weight is not None)


class _WrappedLayer(Layer):
    """Runs the module in ``route``, where its loss becomes known; ``compute`` hands the output on."""

    def __init__(self, name: str, module: nn.Module, weighted: bool) -> None:
        super().__init__()
        self.name, self.module, self.weighted = name, module, weighted

    def route(self, x_BTD: Tensor, token_mask_BT: Tensor | None = None) -> Routing:
        if token_mask_BT is not None:
            raise ValueError(f"{self.name}: a wrapped module takes no token mask")
        out = self.module(x_BTD)
        y_BTO, aux = out if isinstance(out, tuple) else (out, None)
        if aux is not None and not self.weighted:
            raise ValueError(f"{self.name}: it returns a loss; give its weight, wrap(..., aux_weight=0.01)")
        return Routing(mass_BE=None, losses={} if aux is None else {"aux": aux}, state=y_BTO)

    def compute(self, x_BTD: Tensor, routing: Routing, keep_BE: Tensor | None = None) -> Tensor:
        if keep_BE is not None:
            raise ValueError("a wrapped module has no experts to keep")
        y_BTO: Tensor = routing.state
        return y_BTO
