"""What goes in and what comes out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import torch
from torch import Tensor

from moebench.checks.compare import difference_at, same
from moebench.checks.masking import experts_held
from moebench.checks.subject import Subject
from moebench.contract import Context, Layer, Routing

SLOTS = ((1, 7), (3, 1), (2, 5), (2, 13))
"""Pairs of batch and tokens: one input, one token, odd numbers of tokens."""

MAPS = ((1, (3, 3)), (3, (1, 1)), (2, (5, 3)))
"""Pairs of batch and grid."""

FLOAT64 = 1e-3
"""fp32 parts inside a float64 layer are allowed; a cast of its result is not."""


def check_output_shape(subject: Subject) -> None:
    """It keeps batch and tokens, for one input, one token and odd numbers of tokens, and fills its width."""
    for batch, tokens, grid in _slots(subject):
        layer = subject.build(tokens=tokens, grid=grid).eval()
        x_BTD = subject.inputs(batch, tokens)
        _expect_shape(subject, layer, x_BTD, subject.shape.out_dim)
    _another_width(subject)


def _slots(subject: Subject) -> Iterator[tuple[int, int, tuple[int, int] | None]]:
    """(batch, tokens, grid) of the kind that it is checked in."""
    if subject.shape.kind == "map":
        yield from ((batch, grid[0] * grid[1], grid) for batch, grid in MAPS)
    else:
        yield from ((batch, tokens, None) for batch, tokens in SLOTS)


def _expect_shape(subject: Subject, layer: Layer, x_BTD: Tensor, out_dim: int) -> None:
    given, want = tuple(x_BTD.shape), (*x_BTD.shape[:2], out_dim)
    try:
        got = tuple(layer(x_BTD).shape)
    except Exception as error:
        raise subject.failed(f"raises {type(error).__name__} for an input of shape {given}: {error}") from None
    if got != want:
        raise subject.failed(f"turns {given} into {got}; the slot asks for {want}.")


def _another_width(subject: Subject) -> None:
    out_dim = subject.shape.dim + 8
    try:
        layer = subject.build(out_dim=out_dim).eval()
    except ValueError as error:
        subject.note(f"keeps its width: {error}")
        return
    _expect_shape(subject, layer, subject.inputs(), out_dim)


def check_routing_is_a_routing(subject: Subject) -> None:
    """route() returns a Routing, and E and K of the layer are numbers that agree with it and with the claims."""
    for built in subject.trials():
        layer = built.layer
        routing = layer.route(subject.inputs(), Context())
        if not isinstance(routing, Routing):
            raise subject.failed(f"returns a {type(routing).__name__} from route(); it must be a Routing{built.words}.")
        if not isinstance(layer.num_experts, int) or routing.num_experts != layer.num_experts:
            raise subject.failed(
                f"has num_experts={layer.num_experts!r}, and its routing is of {routing.num_experts} experts"
                f"{built.words}."
            )
        if subject.variant.separable and not layer.num_experts:
            raise subject.failed(f"claims separable experts, but has none{built.words}.")
        if layer.top_k is not None and not 1 <= layer.top_k <= layer.num_experts:
            raise subject.failed(f"has top_k={layer.top_k!r} of {layer.num_experts} experts{built.words}.")
        _expert_parameters(subject, layer)


def _expert_parameters(subject: Subject, layer: Layer) -> None:
    shapes = {name: tuple(parameter.shape) for name, parameter in layer.named_parameters()}
    counted: Counter[int] = Counter()
    for name, axis in layer.expert_parameters().items():
        if name not in shapes:
            raise subject.failed(f"lists '{name}' in expert_parameters(), which is none of its parameters.")
        held = experts_held(layer, name)
        if not -len(shapes[name]) <= axis < len(shapes[name]) or shapes[name][axis] != len(held):
            raise subject.failed(
                f"lists '{name}' of shape {shapes[name]} in expert_parameters() with the expert axis {axis}, "
                f"where it does not have {len(held)}."
            )
        counted.update(held)
    if counted and not all(counted[e] for e in range(layer.num_experts)):
        missing = next(e for e in range(layer.num_experts) if not counted[e])
        raise subject.failed(f"holds expert {missing} of {layer.num_experts} in none of its expert_parameters().")
    if subject.variant.separable and not layer.expert_parameters():
        raise subject.failed("claims separable experts, but expert_parameters() lists none.")


def check_dtype_and_device(subject: Subject) -> None:
    """The output has the input's dtype and device; losses and masses are floating and on that device."""
    layer = subject.build().eval()
    x_BTD = subject.inputs()
    reference = layer(x_BTD)
    _expect_kind(subject, layer, x_BTD)
    layer.double()
    _expect_kind(subject, layer, x_BTD.double())
    wide = layer(x_BTD.double())
    if not same(wide, reference, FLOAT64):
        raise subject.failed(f"gives other outputs in float64, {difference_at(wide.float(), reference)}.")
    if torch.cuda.is_available():
        _expect_kind(subject, layer.float().cuda(), x_BTD.cuda())


def _expect_kind(subject: Subject, layer: Layer, x_BTD: Tensor) -> None:
    try:
        routing = layer.route(x_BTD, Context())
        y_BTO = layer.compute(x_BTD, routing)
    except Exception as error:
        raise subject.failed(
            f"raises {type(error).__name__} for {x_BTD.dtype} inputs on {x_BTD.device}: {error}"
        ) from None
    if y_BTO.dtype != x_BTD.dtype:
        raise subject.failed(f"turns {x_BTD.dtype} into {y_BTO.dtype}.")
    told = {f"the loss '{name}'": loss for name, loss in routing.losses.items()}
    if routing.mass_BE is not None:
        told["mass_BE"] = routing.mass_BE
    for name, tensor in {"the output": y_BTO, **told}.items():
        if tensor.device != x_BTD.device or not tensor.is_floating_point():
            raise subject.failed(
                f"gives {name} as {tensor.dtype} on {tensor.device} for {x_BTD.dtype} on {x_BTD.device}."
            )


def check_non_contiguous_input(subject: Subject) -> None:
    """An input that is a transposed or expanded view gives what its contiguous copy gives."""
    layer = subject.build().eval()
    transposed = subject.inputs().transpose(0, 1).contiguous().transpose(0, 1)
    expanded = subject.inputs(batch=1).expand(3, -1, -1)
    sliced = torch.cat([subject.inputs(), subject.inputs(seed=1)], dim=2)[..., : subject.shape.dim]
    for kind, x_BTD in {"transposed": transposed, "expanded": expanded, "sliced": sliced}.items():
        try:
            view, copy = layer(x_BTD), layer(x_BTD.contiguous())
        except Exception as error:
            raise subject.failed(f"raises {type(error).__name__} for a {kind} input: {error}") from None
        if not same(view, copy):
            raise subject.failed(f"treats a {kind} input unlike its contiguous copy, {difference_at(view, copy)}.")


def check_input_is_left_alone(subject: Subject) -> None:
    """It does not write into its input."""
    for built in subject.trials():
        x_BTD = subject.inputs()
        built.layer(x_BTD)
        if not torch.equal(x_BTD, subject.inputs()):
            raise subject.failed(f"writes into its input, {difference_at(x_BTD, subject.inputs())}{built.words}.")


def check_forward_is_route_and_compute(subject: Subject) -> None:
    """forward(x) is compute(x, route(x))."""
    for built in subject.trials():
        x_BTD = subject.inputs()
        whole, parts = built.layer(x_BTD), built.layer.compute(x_BTD, built.layer.route(x_BTD, Context()))
        if not same(whole, parts):
            raise subject.failed(
                f"differs between forward(x) and compute(x, route(x)), {difference_at(whole, parts)}{built.words}."
            )
