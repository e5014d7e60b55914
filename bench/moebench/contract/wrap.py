"""Any ``nn.Module`` as a variant, in one call."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from moebench.contract.layer import Context, Layer
from moebench.contract.routing import Routing
from moebench.contract.shape import LayerShape
from moebench.contract.variant import Variant

Factory = Callable[[int, int], nn.Module]
Gates = str | Callable[[nn.Module, Tensor], tuple[Tensor, Tensor]]


def wrap(
    factory: Factory,
    *,
    name: str | None = None,
    experts: Sequence[str] | None = None,
    top_k: int | None = None,
    expert_axis: int = 0,
    gates: Gates | None = None,
    aux_weight: float | None = None,
    causal: bool = False,
) -> Wrapped:
    """Make a variant of ``factory(dim, hidden) -> module``, where the module returns y_BTO or (y_BTO, aux).

    The harness solves for ``hidden``. ``aux`` is a scalar loss, added with weight ``aux_weight``, which such a module
    needs. ``causal`` claims that y_t depends on x_1 ... x_t only, for hosts that need it.

    Without ``gates`` the module shows no experts: it is trained, budgeted, timed and ranked, and its specialization is
    n/a. With them its routing is seen:

    experts: names of the stacked parameters that belong to experts, output projections among them, such as
    ("experts.gate_up_proj", "experts.down_proj"); ``expert_axis``: their axis of E. A masked expert has zeros in them.
    gates: the name of the submodule that routes, whose output for all tokens holds indices and weights of one shape
    (..., K), or else logits (..., E), of which the ``top_k`` of the softmax count, renormalised; or a callable
    (module, x_BTD) -> (chosen_BTK, weight_BTK). top_k: K.
    """
    if name is None:
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", getattr(factory, "__name__", "wrapped"))
        name = re.sub(r"\W+", "_", words).strip("_").lower()
        name = "wrapped" if name == "lambda" else name
    shown = (experts, top_k, gates)
    if any(each is not None for each in shown) and not (experts and top_k and gates):
        raise ValueError(f"{name}: experts, top_k and gates come together, or none of them")
    if isinstance(experts, str):
        raise ValueError(f"{name}: experts must be a list of names of parameters, not {experts!r}")
    return Wrapped(name, factory, tuple(experts or ()), top_k, expert_axis, gates, aux_weight, causal)


class Wrapped(Variant):
    """The variant that :func:`wrap` returns."""

    def __init__(
        self,
        name: str,
        factory: Factory,
        experts: tuple[str, ...],
        top_k: int | None,
        expert_axis: int,
        gates: Gates | None,
        aux_weight: float | None,
        causal: bool,
    ) -> None:
        # The order of these is part of what identifies the variant.
        self.name, self.factory, self.causal, self.aux_weight = name, factory, causal, aux_weight
        self.experts, self.top_k, self.expert_axis, self.gates = experts, top_k, expert_axis, gates
        self.tune = {} if aux_weight is None else {"loss/aux": (aux_weight,)}

    def build(self, shape: LayerShape, size: int) -> Layer:
        """Call the factory; ``size`` is its ``hidden``."""
        if shape.dim != shape.out_dim:
            raise ValueError(
                f"{self.name}: a wrapped module keeps its width, the host asks {shape.dim}->{shape.out_dim}"
            )
        module = self.factory(shape.dim, size)
        if self.gates is None or self.top_k is None:
            return WrappedLayer(self.name, module, self.aux_weight is not None)
        axes = dict.fromkeys(self.experts, self.expert_axis)
        return GatedLayer(self.name, module, self.aux_weight is not None, axes, self.top_k, self.gates)


class WrappedLayer(Layer):
    """Runs the module in ``route``, where its loss becomes known; ``compute`` hands the output on."""

    def __init__(self, name: str, module: nn.Module, weighted: bool) -> None:
        super().__init__()
        self.name, self.module, self.weighted = name, module, weighted

    def route(self, x_BTD: Tensor, context: Context) -> Routing:
        """There is nothing to see but the loss; ValueError for padding."""
        y_BTO, losses = self._run(x_BTD, context)
        return Routing(losses, y_BTO)

    def compute(self, x_BTD: Tensor, routing: Routing, keep_BE: Tensor | None = None) -> Tensor:
        """What the module gave."""
        if keep_BE is not None:
            raise ValueError(f"{self.name}: a wrapped module shows no experts to keep")
        y_BTO: Tensor = routing.state
        return y_BTO

    def _run(self, x_BTD: Tensor, context: Context) -> tuple[Tensor, dict[str, Tensor]]:
        if context.token_mask_BT is not None:
            raise ValueError(f"{self.name}: a wrapped module takes no token mask")
        # Other authors' modules often view their input.
        y_BTO, aux = _output(self.module(x_BTD.contiguous()))
        if aux is not None and not self.weighted:
            raise ValueError(f"{self.name}: it returns a loss; give its weight, wrap(..., aux_weight=0.01)")
        return y_BTO, {} if aux is None else {"aux": aux}


class GatedLayer(WrappedLayer):
    """A module whose gates are seen. Masks are slow and right: the module runs again for each mask that differs."""

    def __init__(
        self, name: str, module: nn.Module, weighted: bool, axes: Mapping[str, int], top_k: int, gates: Gates
    ) -> None:
        super().__init__(name, module, weighted)
        parameters = dict(module.named_parameters())
        for each, axis in axes.items():
            if each not in parameters:
                raise ValueError(f"{name}: it has no parameter '{each}'; it has: {', '.join(parameters)}")
            self.num_experts = parameters[each].shape[axis]
        if isinstance(gates, str) and gates not in dict(module.named_modules()):
            raise ValueError(f"{name}: it has no submodule '{gates}' that could be its gates")
        self.axes, self.top_k, self.gates = dict(axes), min(top_k, self.num_experts), gates

    def route(self, x_BTD: Tensor, context: Context) -> Routing:
        """Run the module, and look at what its gates gave."""
        if not isinstance(self.gates, str):
            y_BTO, losses = self._run(x_BTD, context)
            chosen, weight = self.gates(self.module, x_BTD)
        else:
            seen: list[Any] = []
            handle = self.module.get_submodule(self.gates).register_forward_hook(lambda *call: seen.append(call[2]))
            try:
                y_BTO, losses = self._run(x_BTD, context)
            finally:
                handle.remove()
            chosen, weight = self._read(seen)
        shape = (*x_BTD.shape[:2], -1)
        return Routing.sparse(
            chosen.reshape(shape), weight.reshape(shape), experts=self.num_experts, losses=losses, state=y_BTO
        )

    def compute(self, x_BTD: Tensor, routing: Routing, keep_BE: Tensor | None = None) -> Tensor:
        """What the module gave; under a mask what it gives with zeros in the parameters of masked experts."""
        y_BTO: Tensor = routing.state
        if keep_BE is None:
            return y_BTO
        mask_GE, group_B = torch.unique(keep_BE, dim=0, return_inverse=True)
        masked_BTO = torch.empty_like(y_BTO)
        for group, mask_E in enumerate(mask_GE):
            inputs_b = (group_B == group).nonzero().squeeze(1)
            masked_e = (~mask_E).nonzero().squeeze(1)
            zeroed = {n: self.module.get_parameter(n).index_fill(axis, masked_e, 0) for n, axis in self.axes.items()}
            output = functional_call(self.module, zeroed, (x_BTD[inputs_b],))
            masked_BTO = masked_BTO.index_copy(0, inputs_b, _output(output)[0].to(y_BTO))
        return masked_BTO

    def expert_parameters(self) -> Mapping[str, int]:
        """Those given to :func:`wrap`."""
        return {f"module.{name}": axis for name, axis in self.axes.items()}

    def _read(self, seen: list[Any]) -> tuple[Tensor, Tensor]:
        """(chosen, weight) of the gates' one output."""
        given = seen[0] if len(seen) == 1 else ()
        tensors = [each for each in (given if isinstance(given, tuple | list) else [given]) if isinstance(each, Tensor)]
        for chosen in tensors:
            for weight in tensors:
                if not chosen.is_floating_point() and weight.is_floating_point() and chosen.shape == weight.shape:
                    return chosen, weight
        for logits in tensors:
            if logits.is_floating_point() and logits.shape[-1:] == (self.num_experts,):
                weight, chosen = logits.float().softmax(-1).topk(self.top_k or self.num_experts)
                return chosen, weight / weight.sum(-1, keepdim=True)
        raise ValueError(
            f"{self.name}: its gates '{self.gates}' gave neither indices and weights of one shape nor logits of "
            f"{self.num_experts} experts, once"
        )


def _output(given: Any) -> tuple[Tensor, Tensor | None]:
    """(y_BTO, aux)."""
    return given if isinstance(given, tuple) else (given, None)
