"""Any ``nn.Module`` as a variant, in one call."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import one_hot

from moebench.contract.layer import Context, Layer
from moebench.contract.routing import Routing
from moebench.contract.shape import LayerShape
from moebench.contract.variant import Variant

Factory = Callable[[int, int], nn.Module]
Gates = str | Callable[[nn.Module, Tensor], tuple[Tensor, Tensor]]
AfterStep = Callable[[nn.Module, Tensor], None]


def wrap(
    factory: Factory,
    *,
    name: str | None = None,
    experts: Sequence[str] | None = None,
    top_k: int | None = None,
    expert_axis: int = 0,
    gates: Gates | None = None,
    aux_weight: float | Mapping[str, float] | None = None,
    causal: bool = False,
    flat: bool = False,
    after_step: AfterStep | None = None,
    passes: float = 1.0,
    paper: str = "",
    code: str = "",
    author: str = "",
) -> Wrapped:
    """Make a variant of ``factory(dim, hidden) -> module``, where the module returns y_BTO, alone or first of a tuple,
    list or mapping. The harness solves for ``hidden``.

    aux_weight: of the loss that it returns, one number: a tensor of one element, or a Python number. A mapping, needed
    for more than one loss, has a weight for each by name: a key or field of what it returns, ``output_1`` for the
    second of a tuple, else an attribute of the module that it sets, such as ``{"l_aux": 0.01}``. A tuple, list or
    mapping among the outputs is looked into. Other outputs, such as router logits, are left alone. ``causal`` claims
    that y_t depends on x_1 ... x_t only, for hosts that need it. flat: it takes (B T, D). after_step: called after each
    step of the optimiser as ``after_step(module, load_E)`` with how often each expert was chosen since the last, for
    what its own trainer does there (load_E is empty without gates). passes: see ``Layer.passes``. paper, code, author:
    see ``Variant``.

    Without ``gates`` the module shows no experts: it is trained, budgeted, timed and ranked, and its specialization is
    n/a. With them its routing is seen:

    experts: names of the stacked parameters that belong to experts, output projections among them, such as
    ("experts.gate_up_proj", "experts.down_proj"); ``expert_axis``: their axis of E. A masked expert has zeros in them.
    gates: the name of the submodule that routes, whose output for all tokens holds indices and weights of one shape
    (..., K), or else scores (..., E) that are 0 where an expert is not chosen, or else logits (..., E), of which the
    ``top_k`` of the softmax count, renormalised; or a callable (module, x_BTD) -> (chosen_BTK, weight_BTK). top_k: K.
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
    how = _How(name, dict(aux_weight) if isinstance(aux_weight, Mapping) else aux_weight, flat, after_step, passes)
    wrapped = Wrapped(how, factory, tuple(experts or ()), top_k, expert_axis, gates, causal)
    for attribute, said in (("paper", paper), ("code", code), ("author", author)):
        if said:  # one that is not given is no part of what identifies the variant
            setattr(wrapped, attribute, said)
    return wrapped


@dataclass(frozen=True)
class _How:
    """How a module is called, and what is done with what it gives."""

    name: str
    aux_weight: float | dict[str, float] | None
    flat: bool
    after_step: AfterStep | None
    passes: float

    @property
    def losses(self) -> dict[str, float]:
        """The weights by the name of the loss."""
        return self.aux_weight if isinstance(self.aux_weight, dict) else _weight_of_one(self.aux_weight)


def _weight_of_one(weight: float | None) -> dict[str, float]:
    return {} if weight is None else {"aux": weight}


class Wrapped(Variant):
    """The variant that :func:`wrap` returns."""

    def __init__(
        self,
        how: _How,
        factory: Factory,
        experts: tuple[str, ...],
        top_k: int | None,
        expert_axis: int,
        gates: Gates | None,
        causal: bool,
    ) -> None:
        # The order of these is part of what identifies the variant.
        self.name, self.factory, self.causal, self.how = how.name, factory, causal, how
        self.experts, self.top_k, self.expert_axis, self.gates = experts, top_k, expert_axis, gates
        self.tune = {f"loss/{name}": (weight,) for name, weight in how.losses.items()}

    def build(self, shape: LayerShape, size: int) -> Layer:
        """Call the factory; ``size`` is its ``hidden``."""
        if shape.dim != shape.out_dim:
            raise ValueError(
                f"{self.name}: a wrapped module keeps its width, the host asks {shape.dim}->{shape.out_dim}"
            )
        module = self.factory(shape.dim, size)
        if not isinstance(module, nn.Module):
            raise ValueError(f"{self.name}: its factory gave a {type(module).__name__}; it must give an nn.Module")
        if self.gates is None or self.top_k is None:
            return WrappedLayer(self.how, module)
        return GatedLayer(self.how, module, dict.fromkeys(self.experts, self.expert_axis), self.top_k, self.gates)


class WrappedLayer(Layer):
    """Runs the module in ``route``, where its loss becomes known; ``compute`` hands the output on."""

    def __init__(self, how: _How, module: nn.Module) -> None:
        super().__init__()
        self.name, self.how, self.module, self.passes = how.name, how, module, how.passes

    def route(self, x_BTD: Tensor, context: Context) -> Routing:
        """There is nothing to see but the losses; ValueError for padding."""
        y_BTO, losses = self._run(x_BTD, context)
        return Routing(losses, y_BTO)

    def compute(self, x_BTD: Tensor, routing: Routing, keep_BE: Tensor | None = None) -> Tensor:
        """What the module gave."""
        if keep_BE is not None:
            raise ValueError(f"{self.name}: a wrapped module shows no experts to keep")
        y_BTO: Tensor = routing.state
        return y_BTO

    def after_step(self) -> None:
        """What :func:`wrap` was given."""
        if self.how.after_step is not None:
            self.how.after_step(self.module, torch.zeros(0))

    def _run(self, x_BTD: Tensor, context: Context) -> tuple[Tensor, dict[str, Tensor]]:
        if context.token_mask_BT is not None:
            raise ValueError(f"{self.name}: a wrapped module takes no token mask")
        given = self.module(self._input(x_BTD))
        return self._output(given, x_BTD), self._losses(given, x_BTD)

    def _input(self, x_BTD: Tensor) -> Tensor:
        """As the module takes it; contiguous, for other authors' modules often view their input."""
        return (x_BTD.flatten(0, 1) if self.how.flat else x_BTD).contiguous()

    def _output(self, given: Any, x_BTD: Tensor) -> Tensor:
        """y_BTO: the first tensor with a number for each of x_BTD."""
        found = [each for each in _parts(given).values() if isinstance(each, Tensor)]
        for each in found:
            if each.is_floating_point() and each.numel() == x_BTD.numel() and each.shape[-1] == x_BTD.shape[-1]:
                return each.reshape(x_BTD.shape)
        shapes = ", ".join(str(tuple(each.shape)) for each in found) or f"a {type(given).__name__} without tensors"
        raise ValueError(
            f"{self.name}: its forward gave {shapes} for an input of {tuple(x_BTD.shape)}; one output must have that "
            "shape, or that of (B T, D)"
        )

    def _losses(self, given: Any, x_BTD: Tensor) -> dict[str, Tensor]:
        """Those with a weight; ValueError for one that has none, or that is not there."""
        parts = _parts(given)
        scalars = {name: each for name, each in parts.items() if _is_scalar(each)}
        if not isinstance(self.how.aux_weight, dict):
            return self._one_loss(parts, scalars, x_BTD)
        found = {}
        for name in self.how.losses:
            value = scalars[name] if name in scalars else _taken(self.module, name)
            if _is_scalar(value):
                found[name] = _as_loss(value, x_BTD)
            elif self.training:
                raise ValueError(
                    f"{self.name}: it has a weight for the loss '{name}', and its forward returned {_listed(parts)} "
                    f"and set no attribute '{name}' of one number"
                )
        return found

    def _one_loss(self, parts: Mapping[str, Any], scalars: Mapping[str, Any], x_BTD: Tensor) -> dict[str, Tensor]:
        """The one number beside the output. Whole numbers are counts where there are others, or where no weight is."""
        weight = self.how.aux_weight
        numbers = {name: each for name, each in scalars.items() if not isinstance(each, int)}
        losses = numbers or (scalars if weight is not None else {})
        example = dict.fromkeys(losses, 0.01)
        if weight is None and len(losses) == 1:
            raise ValueError(
                f"{self.name}: beside its output it returns one number ({_listed(losses)}); if it is a loss, give its "
                "weight, wrap(..., aux_weight=0.01), else 0.0"
            )
        if len(losses) > 1:
            has = "has no aux_weight" if weight is None else f"has aux_weight={weight}"
            raise ValueError(
                f"{self.name}: it {has}, and its forward returned {len(losses)} numbers ({_listed(losses)}); give the "
                f"weights of those that are losses by name, wrap(..., aux_weight={example}), or {{}} if none is"
            )
        if weight is not None and not losses and self.training:
            raise ValueError(
                f"{self.name}: it has aux_weight={weight}, and its forward returned no loss, which is one number, but "
                f"{_listed(parts)}; name an attribute, wrap(..., aux_weight={{'l_aux': 0.01}}), or leave it out"
            )
        return {"aux": _as_loss(next(iter(losses.values())), x_BTD)} if losses else {}


class GatedLayer(WrappedLayer):
    """A module whose gates are seen. Masks are slow and right: the module runs again for each mask that differs."""

    load_E: Tensor

    def __init__(self, how: _How, module: nn.Module, axes: Mapping[str, int], top_k: int, gates: Gates) -> None:
        super().__init__(how, module)
        name = how.name
        parameters = dict(module.named_parameters())
        for each, axis in axes.items():
            if each not in parameters:
                listed = any(re.match(rf"{re.escape(each)}\.\d+\.", parameter) for parameter in parameters)
                hint = "; experts in a list must be stacked into one parameter for each weight" if listed else ""
                raise ValueError(f"{name}: it has no parameter '{each}'; it has: {', '.join(parameters)}{hint}")
            shape = tuple(parameters[each].shape)
            if not -len(shape) <= axis < len(shape):
                raise ValueError(f"{name}: '{each}' of shape {shape} has no axis {axis}; give expert_axis=")
            if self._num_experts not in (None, shape[axis]):
                raise ValueError(
                    f"{name}: '{each}' of shape {shape} has {shape[axis]} experts along axis {axis}, and others "
                    f"have {self._num_experts}; give another expert_axis="
                )
            self.num_experts = shape[axis]
        if isinstance(gates, str) and gates not in dict(module.named_modules()):
            raise ValueError(f"{name}: it has no submodule '{gates}' that could be its gates")
        self._zeros: dict[int, bool] = {}
        self.axes, self.top_k, self.gates = dict(axes), min(top_k, self.num_experts), gates
        if how.after_step is not None:
            self.register_buffer("load_E", torch.zeros(self.num_experts, dtype=torch.int64))

    def route(self, x_BTD: Tensor, context: Context) -> Routing:
        """Run the module, and look at what its gates gave."""
        if not isinstance(self.gates, str):
            y_BTO, losses = self._run(x_BTD, context)
            chosen, weight = self.gates(self.module, self._input(x_BTD))
        else:
            seen: list[Any] = []
            handle = self.module.get_submodule(self.gates).register_forward_hook(lambda *call: seen.append(call[2]))
            try:
                y_BTO, losses = self._run(x_BTD, context)
            finally:
                handle.remove()
            chosen, weight = self._read(seen)
        shape = (*x_BTD.shape[:2], -1)
        if self.training and self.how.after_step is not None:
            # bincount would wait for a GPU, to learn which number is the largest.
            self.load_E += one_hot(chosen.detach().flatten().long(), self.num_experts).sum(0)
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
            output = functional_call(self.module, zeroed, (self._input(x_BTD[inputs_b]),))
            masked_BTO = masked_BTO.index_copy(0, inputs_b, self._output(output, x_BTD[inputs_b]).to(y_BTO))
        return masked_BTO

    def after_step(self) -> None:
        """What :func:`wrap` was given, with the load since the last step."""
        if self.how.after_step is not None:
            self.how.after_step(self.module, self.load_E.clone())
            self.load_E.zero_()

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
        of_experts = [each for each in tensors if each.is_floating_point() and each.shape[-1:] == (self.num_experts,)]
        for place, scores in enumerate(of_experts):
            if self._are_zero_elsewhere(scores, place):
                weight, chosen = scores.topk(self.top_k or self.num_experts)
                return chosen, weight
        for logits in tensors:
            if logits.is_floating_point() and logits.shape[-1:] == (self.num_experts,):
                weight, chosen = logits.float().softmax(-1).topk(self.top_k or self.num_experts)
                return chosen, weight / weight.sum(-1, keepdim=True)
        shapes = ", ".join(str(tuple(each.shape)) for each in tensors) or "nothing"
        raise ValueError(
            f"{self.name}: its gates '{self.gates}' gave neither indices and weights of one shape nor logits of "
            f"{self.num_experts} experts, once, but {shapes if len(seen) == 1 else f'were called {len(seen)} times'}; "
            "pass gates= as a callable (module, x_BTD) -> (chosen_BTK, weight_BTK)"
        )

    def _are_zero_elsewhere(self, scores: Tensor, place: int) -> bool:
        """Whether each token has at most K scores that are not 0. In training that is decided by the first batch that
        has any other score than 0 at this place of the output, and kept: each look waits for a GPU.
        """
        idle = self.num_experts - (self.top_k or self.num_experts)
        if not idle:
            return False
        if self.training and place in self._zeros:
            return self._zeros[place]
        zeros = (scores == 0).sum(-1)
        found = bool((zeros >= idle).all())
        if bool((zeros < self.num_experts).any()):
            self._zeros[place] = found
        return found


def _parts(given: Any) -> dict[str, Any]:
    """What a forward gave, by name, or by place; then what lies in these, as in ``(y, (loss, logits))``."""
    outer = _named(given, "output")
    if outer is None:
        return {"output_0": given}
    parts = dict(outer)
    for name, each in outer.items():
        for inside, value in (_named(each, name) or {}).items():
            parts.setdefault(inside, value)
    return parts


def _named(given: Any, name: str) -> dict[str, Any] | None:
    """The parts of a mapping, tuple, list or dataclass; None of anything else."""
    if isinstance(given, Mapping):
        return {str(key): each for key, each in given.items()}
    if isinstance(given, tuple) and hasattr(given, "_asdict"):
        return dict(given._asdict())
    if isinstance(given, tuple | list):
        return {f"{name}_{place}": each for place, each in enumerate(given)}
    if is_dataclass(given) and not isinstance(given, type):
        return {each.name: getattr(given, each.name) for each in fields(given)}
    return None


def _listed(parts: Mapping[str, Any]) -> str:
    """Each part with what it is."""
    return " and ".join(f"{name}, {_kind(each)}" for name, each in parts.items())


def _kind(value: Any) -> str:
    if value is None:
        return "which is None"
    if isinstance(value, Tensor):
        return f"a {str(value.dtype).removeprefix('torch.')} tensor of shape {tuple(value.shape)}"
    article = "an" if type(value).__name__[0] in "aeiou" else "a"
    return f"{article} {type(value).__name__}"


def _is_scalar(value: Any) -> bool:
    """Whether it is one number: a floating-point tensor of one element without axes of inputs, or a Python number."""
    if isinstance(value, Tensor):
        return value.is_floating_point() and value.ndim <= 1 and value.numel() == 1
    return isinstance(value, int | float) and not isinstance(value, bool)


def _as_loss(value: Any, x_BTD: Tensor) -> Tensor:
    return value.reshape(()) if isinstance(value, Tensor) else x_BTD.new_tensor(value)


def _taken(module: nn.Module, name: str) -> Any:
    """What the module, or the first of its submodules, has set under this name; it keeps it no longer."""
    for each in module.modules():
        if name in vars(each):
            value = vars(each)[name]
            vars(each)[name] = None
            return value
    return None
