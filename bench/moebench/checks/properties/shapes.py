"""What goes in and what comes out."""

from __future__ import annotations

import torch
from torch import Tensor

from moebench.budgets.count import empty_experts, experts_held
from moebench.checks.compare import count, difference_at, listed
from moebench.checks.subject import BuiltLayer, CheckSubject
from moebench.contract import Context, Layer, Routing

SLOTS: tuple[tuple[int, int, tuple[int, int] | None], ...] = ((1, 7, None), (3, 1, None), (2, 5, None), (2, 13, None))
"""Batch, tokens and grid: one input, one token, odd numbers of tokens."""

MAPS: tuple[tuple[int, int, tuple[int, int] | None], ...] = ((1, 9, (3, 3)), (3, 1, (1, 1)), (2, 15, (5, 3)))

OF_EIGHTHS = 8
"""Specialization is that of an eighth of the experts, at several counts."""

FLOAT64 = 1e-3
"""fp32 parts inside a float64 layer are allowed; a cast of its result is not."""


def check_output_shape(subject: CheckSubject) -> None:
    """It keeps batch and tokens, for one input, one token and odd numbers of tokens, and fills its width."""
    for batch, tokens, grid in MAPS if subject.shape.kind == "map" else SLOTS:
        layer = subject.build(tokens=tokens, grid=grid)
        _expect_shape(subject, layer, subject.inputs(batch, tokens), subject.shape.out_dim)
    wider = subject.shape.dim + 8
    try:
        layer = subject.build(out_dim=wider)
    except ValueError as error:
        subject.note(f"keeps its width: {error}")
        return
    _expect_shape(subject, layer, subject.inputs(), wider)


def _expect_shape(subject: CheckSubject, layer: Layer, x_BTD: Tensor, out_dim: int) -> None:
    given, want = tuple(x_BTD.shape), (*x_BTD.shape[:2], out_dim)
    with subject.expect_no_error(f"fails for an input of shape {given}"):
        got = tuple(layer.eval()(x_BTD).shape)
    if got != want:
        raise subject.failed(f"turns {given} into {got}; the slot asks for {want}")


def check_routing_is_a_routing(subject: CheckSubject) -> None:
    """route() returns a Routing, and E and K of the layer are numbers that agree with it and with the claims."""
    for built in subject.trials():
        layer = built.layer
        routing = layer.route(subject.inputs(), Context())
        if not isinstance(routing, Routing):
            raise built.failed(f"returns a {type(routing).__name__} from route(); it must be a Routing")
        if not isinstance(layer.num_experts, int) or routing.num_experts != layer.num_experts:
            raise built.failed(
                f"has num_experts={layer.num_experts!r}, and its routing is of {routing.num_experts} experts"
            )
        if subject.variant.separable and not layer.num_experts:
            raise built.failed("claims separable experts, but has none")
        if layer.top_k is not None and not 1 <= layer.top_k <= layer.num_experts:
            raise built.failed(f"has top_k={layer.top_k!r} of {layer.num_experts} experts")
        if subject.variant.separable and not layer.expert_parameters():
            raise built.failed("claims separable experts, but expert_parameters() lists none")
        _check_expert_parameters(subject, built, layer)


def _check_expert_parameters(subject: CheckSubject, built: BuiltLayer, layer: Layer) -> None:
    shapes = {name: tuple(parameter.shape) for name, parameter in layer.named_parameters()}
    for name, axis in layer.expert_parameters().items():
        if name not in shapes:
            raise built.failed(f"lists '{name}' in expert_parameters(), which is none of its parameters")
        held = experts_held(layer, name)
        if not -len(shapes[name]) <= axis < len(shapes[name]) or shapes[name][axis] != len(held):
            right = [place for place, size in enumerate(shapes[name]) if size == len(held)]
            raise built.failed(
                f"lists '{name}' of shape {shapes[name]} in expert_parameters() with the expert axis {axis}, "
                f"where it does not have {len(held)}; {f'axis {right[0]} does' if right else 'no axis does'}"
            )
    if missing := empty_experts(layer):
        subject.note(
            f"{count(len(missing), 'expert')} ({listed(missing)}) of {layer.num_experts} without parameters, as "
            f"experts_held() says{built.words}."
        )


def check_numbers_of_experts(subject: CheckSubject) -> None:
    """Its numbers of experts are those that all scores can be measured of; others are noted before a run."""
    for built in subject.trials():
        experts = built.layer.num_experts
        if experts and experts % OF_EIGHTHS:
            subject.note(
                f"has {count(experts, 'expert')}{built.words}: specialization is measured with a multiple of "
                f"{OF_EIGHTHS}, and will be n/a; its rank does not depend on it."
            )


def check_dtype_and_device(subject: CheckSubject) -> None:
    """The output has the input's dtype and device; losses and masses are floating and on that device."""
    layer = subject.build().eval()
    x_BTD = subject.inputs()
    reference = layer(x_BTD)
    _expect_kind(subject, layer, x_BTD)
    layer.double()
    _expect_kind(subject, layer, x_BTD.double())
    subject.expect_same(layer(x_BTD.double()), reference, "gives other outputs in float64,", FLOAT64)
    if torch.cuda.is_available():
        _expect_kind(subject, layer.float().cuda(), x_BTD.cuda())


def _expect_kind(subject: CheckSubject, layer: Layer, x_BTD: Tensor) -> None:
    kind = f"{x_BTD.dtype} on {x_BTD.device}"
    with subject.expect_no_error(f"fails for {kind}"):
        routing = layer.route(x_BTD, Context())
        y_BTO = layer.compute(x_BTD, routing)
    if y_BTO.dtype != x_BTD.dtype:
        raise subject.failed(f"turns {x_BTD.dtype} into {y_BTO.dtype}")
    results = {"the output": y_BTO, **{f"the loss '{name}'": loss for name, loss in routing.losses.items()}}
    if routing.mass_BE is not None:
        results["mass_BE"] = routing.mass_BE
    for name, tensor in results.items():
        if tensor.device != x_BTD.device or not tensor.is_floating_point():
            raise subject.failed(f"gives {name} as {tensor.dtype} on {tensor.device} for {kind}")


def check_non_contiguous_input(subject: CheckSubject) -> None:
    """An input that is a transposed or expanded view gives what its contiguous copy gives."""
    layer = subject.build().eval()
    transposed = subject.inputs().transpose(0, 1).contiguous().transpose(0, 1)
    expanded = subject.inputs(batch=1).expand(3, -1, -1)
    sliced = torch.cat([subject.inputs(), subject.inputs(seed=1)], dim=2)[..., : subject.shape.dim]
    for kind, x_BTD in {"transposed": transposed, "expanded": expanded, "sliced": sliced}.items():
        with subject.expect_no_error(f"fails for a {kind} input"):
            view, copy = layer(x_BTD), layer(x_BTD.contiguous())
        subject.expect_same(view, copy, f"treats a {kind} input unlike its contiguous copy,")


def check_input_is_left_alone(subject: CheckSubject) -> None:
    """It does not write into its input, in evaluation and in training."""
    for built in subject.trials():
        for training in (False, True):
            x_BTD = subject.inputs()
            built.layer.train(training)(x_BTD)
            if not torch.equal(x_BTD, subject.inputs()):
                mode = "training" if training else "evaluation"
                raise built.failed(f"writes into its input in {mode}, {difference_at(x_BTD, subject.inputs())}")


def check_forward_is_route_and_compute(subject: CheckSubject) -> None:
    """forward(x) is compute(x, route(x))."""
    for built in subject.trials():
        x_BTD = subject.inputs()
        whole, parts = built.layer(x_BTD), built.layer.compute(x_BTD, built.layer.route(x_BTD, Context()))
        built.expect_same(whole, parts, "differs between forward(x) and compute(x, route(x)),")
