"""The weights that a layer tells are those it applies, and one softmax made them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from moebench.budgets.causal import perturb
from moebench.checks.masking import keep
from moebench.checks.outcome import NotApplicable
from moebench.checks.properties.routing import choices_of
from moebench.checks.subject import Built, Subject
from moebench.contract import Context, Layer, Routing


def check_weights_are_those_applied(subject: Subject) -> None:
    """For sparse routing an expert's contribution grows with the weight that is told, and only with it."""
    if not subject.variant.separable:
        raise NotApplicable("it does not claim that its experts are separable.")
    for built in subject.trials():
        choices_of(built.layer.route(subject.inputs(), Context()))
        results = [_ratio_moves(subject, built, name) for name in _router_parameters(built.layer)]
        moved = [result for result in results if result is not None]
        if moved and min(moved) > 0.02:
            raise subject.failed(
                "applies other weights than weight_BTK tells: with other weights an expert's contribution "
                f"divided by its weight moves by {min(moved):.0%}{built.words}."
            )


def _router_parameters(layer: Layer) -> list[str]:
    axes = layer.expert_parameters()
    return [name for name, _ in layer.named_parameters() if name not in axes]


@torch.no_grad()
def _ratio_moves(subject: Subject, built: Built, name: str) -> float | None:
    """How far contribution / weight moves when one parameter of the router does; None if no weight moves."""
    layer, x_BTD = built.layer, subject.inputs()
    parameter = dict(layer.named_parameters())[name]
    original = parameter.clone()
    first, gates = _contribution(layer, x_BTD, 0), _gate(layer.route(x_BTD, Context()), 0)
    noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3))
    parameter.add_(0.1 * noise.to(parameter))
    second, other = _contribution(layer, x_BTD, 0), _gate(layer.route(x_BTD, Context()), 0)
    parameter.copy_(original)
    both_BT = (gates > 0) & (other > 0) & ((gates - other).abs() > 0.01)
    if not bool(both_BT.any()):
        return None
    one, two = first[both_BT] / gates[both_BT][:, None], second[both_BT] / other[both_BT][:, None]
    return float((one - two).norm() / one.norm().clamp_min(1e-12))


def _gate(routing: Routing, expert: int) -> Tensor:
    """The weight that each token gives an expert (B, T)."""
    chosen_BTK, weight_BTK, kept_BTK = choices_of(routing)
    return (weight_BTK * kept_BTK * (chosen_BTK == expert)).sum(-1)


def _contribution(layer: Layer, x_BTD: Tensor, expert: int) -> Tensor:
    routing, shape = layer.route(x_BTD, Context()), (len(x_BTD), layer.num_experts)
    return layer.compute(x_BTD, routing, keep(*shape, [expert])) - layer.compute(x_BTD, routing, keep(*shape, []))


def check_gate_is_one_softmax(subject: Subject) -> None:
    """With sharp logits an expert's weight does not end at the ceiling that a second softmax leaves."""
    if subject.variant.mass not in ("exact", "at_most"):
        raise NotApplicable("its masses are not weights that sum to one for a token.")
    for built in subject.trials():
        experts, top = built.layer.num_experts, built.layer.top_k
        highest = _highest_weight(subject, built)
        for over in {experts, top or experts} - {1}:
            ceiling = math.e / (math.e + over - 1)
            if abs(highest - ceiling) < 0.01 * ceiling:
                raise subject.failed(
                    f"never gives an expert more than {highest:.3f} of a token's weight, however sharp its "
                    f"logits: e / (e + {over - 1}) = {ceiling:.3f} is where a second softmax over {over} "
                    f"ends{built.words}."
                )
        if highest < 0.9 and experts > 1:
            subject.note(f"no expert ever gets more than {highest:.3f} of a token's weight{built.words}.")


@torch.no_grad()
def _highest_weight(subject: Subject, built: Built) -> float:
    """The largest mass of an expert over 256 inputs of one token, with router and inputs scaled up."""
    x_BTD, highest = subject.inputs(batch=256, tokens=1), 0.0
    for scale in (1.0, 30.0, 1000.0):
        layer = perturb(subject.build(built.settings, **subject.one_token).eval())
        names = _router_parameters(layer)
        for name, parameter in layer.named_parameters():
            if name in names:
                parameter.mul_(scale)
        for loud in (1.0, 1000.0):
            mass_BE = layer.route(x_BTD * loud, Context()).mass_BE
            if mass_BE is not None:
                highest = max(highest, float(mass_BE.nan_to_num(0.0).max()))
    return highest
