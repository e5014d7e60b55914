"""What a layer reports of its routing, whether it is true, and that one softmax made the weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from moebench.budgets.place import perturb
from moebench.checks.masking import keep
from moebench.checks.outcome import NotApplicable
from moebench.checks.subject import BuiltLayer, CheckSubject
from moebench.contract import Context, Layer, Routing

SLACK = 1e-4

ROUNDING = 1e-6
"""A share of the largest weight, by which a processor's softmax may differ from one token to the next."""


def check_mass_is_as_claimed(subject: CheckSubject) -> None:
    """Masses are one nonnegative number per input and expert, and sum to what ``mass`` claims."""
    claim, experts, tokens = subject.variant.mass, 0, subject.shape.tokens or 0
    for built in subject.trials():
        mass_BE, experts = built.layer.route(subject.inputs(), Context()).mass_BE, built.layer.num_experts
        if mass_BE is None and not experts:
            if claim != "free":
                raise built.failed(f"claims mass={claim!r}, but has no experts")
            raise NotApplicable("it has no experts.")
        if mass_BE is None:
            raise built.failed(f"has {experts} experts, but its routing gives no mass")
        want = (len(subject.inputs()), experts)
        if tuple(mass_BE.shape) != want:
            raise built.failed(f"gives masses of shape {tuple(mass_BE.shape)}; (inputs, experts) is {want}")
        if not bool(torch.isfinite(mass_BE).all()) or float(mass_BE.min()) < 0:
            raise built.failed(f"gives the mass {float(mass_BE.min()):.4g} to an expert")
        total_B = mass_BE.double().sum(1)
        over_B = (total_B - tokens).abs() if claim == "exact" else total_B - tokens
        if claim != "free" and float(over_B.max()) > SLACK * tokens:
            most = "" if claim == "exact" else "at most "
            raise built.failed(
                f"claims masses that sum to {most}the {tokens} tokens of an input; they sum to "
                f"{float(total_B[over_B.argmax()]):.6g}"
            )


def check_choices_are_well_formed(subject: CheckSubject) -> None:
    """Where tokens choose, each token has K experts out of E, K weights, and K booleans."""
    for built in subject.trials():
        layer, (chosen, weight, kept) = built.layer, choices_of(built.layer.route(subject.inputs(), Context()))
        want = (*subject.inputs().shape[:2], layer.top_k or chosen.shape[-1])
        if not chosen.shape == weight.shape == kept.shape == want:
            raise built.failed(
                f"gives chosen, weight and kept of shapes {tuple(chosen.shape)}, {tuple(weight.shape)} and "
                f"{tuple(kept.shape)}; (inputs, tokens, top_k) is {want}"
            )
        if kept.dtype != torch.bool or chosen.is_floating_point():
            raise built.failed(f"gives kept_BTK as {kept.dtype} and chosen_BTK as {chosen.dtype}, not bool and int64")
        if int(chosen.min()) < 0 or int(chosen.max()) >= layer.num_experts:
            raise built.failed(f"chooses expert {int(chosen.max())} of {layer.num_experts}")


def choices_of(routing: Routing) -> tuple[Tensor, Tensor, Tensor]:
    """chosen, weight and kept of a sparse routing; not applicable where tokens choose no experts."""
    if routing.chosen_BTK is None or routing.weight_BTK is None:
        raise NotApplicable("its tokens choose no experts.")
    every_BTK = torch.ones_like(routing.chosen_BTK, dtype=torch.bool)
    return routing.chosen_BTK, routing.weight_BTK, every_BTK if routing.kept_BTK is None else routing.kept_BTK


def check_whole_inputs_are_routed(subject: CheckSubject) -> None:
    """Where it claims to route whole inputs, all tokens of an input have the same experts with the same weights."""
    if not subject.variant.whole_input:
        raise NotApplicable("it does not claim to route whole inputs.")
    for built in subject.trials():
        combine_BTE = built.layer.route(subject.inputs(), Context()).combine_BTE
        if combine_BTE is None:
            raise built.failed("claims to route whole inputs, but shows no combine weights")
        distance_BT = (combine_BTE - combine_BTE[:, :1]).detach().abs().amax(2)
        if bool((distance_BT > ROUNDING * combine_BTE.abs().max()).any()):
            b, t = divmod(int(distance_BT.argmax()), distance_BT.shape[1])
            raise built.failed(
                f"claims to route whole inputs, but a weight of token {t} of input {b} differs by "
                f"{float(distance_BT[b, t]):.3g} from that of token 0"
            )


def check_route_does_no_expert_work(subject: CheckSubject) -> None:
    """route() does not touch the parameters of experts: with NaN in all of them it decides the same."""
    for built in subject.trials():
        layer, x_BTD = built.layer, subject.inputs()
        axes = layer.expert_parameters()
        if not axes:
            raise NotApplicable("it lists no expert parameters.")
        if getattr(layer, "gates_read_experts", False):
            raise NotApplicable("gates of a later level read what experts of an earlier one gave.")
        before = layer.route(x_BTD, Context())
        with torch.no_grad():
            for name in axes:
                layer.get_parameter(name).fill_(torch.nan)
        after = layer.route(x_BTD, Context())
        pairs = {"mass": (before.mass_BE, after.mass_BE), "weights": (before.combine_BTE, after.combine_BTE)}
        for what, (one, two) in pairs.items():
            if one is not None and (two is None or not torch.equal(one, two)):
                raise built.failed(
                    f"uses the parameters of experts in route(): with NaN in {', '.join(axes)} its {what} change "
                    "(the router's own parameters belong to no expert)"
                )


def check_weights_are_those_applied(subject: CheckSubject) -> None:
    """For sparse routing an expert's contribution grows with its reported weight, and only with it."""
    if not subject.variant.separable:
        raise NotApplicable("it does not claim that its experts are separable.")
    for built in subject.trials():
        choices_of(built.layer.route(subject.inputs(), Context()))
        results = [_ratio_moves(built.layer, subject.inputs(), name) for name in _router_parameters(built.layer)]
        moved = [result for result in results if result is not None]
        if moved and min(moved) > 0.02:
            raise built.failed(
                "applies other weights than weight_BTK: with other weights an expert's contribution "
                f"divided by its weight moves by {min(moved):.0%}"
            )


def _router_parameters(layer: Layer) -> list[str]:
    axes = layer.expert_parameters()
    return [name for name, _ in layer.named_parameters() if name not in axes]


@torch.no_grad()
def _ratio_moves(layer: Layer, x_BTD: Tensor, name: str) -> float | None:
    """How far contribution / weight moves when one parameter of the router does; None if no weight moves."""
    parameter = layer.get_parameter(name)
    original = parameter.clone()
    first_BTO, gate_BT = _contribution(layer, x_BTD)
    noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3))
    parameter.add_(0.1 * noise.to(parameter))
    second_BTO, other_BT = _contribution(layer, x_BTD)
    parameter.copy_(original)
    both_BT = (gate_BT > 0) & (other_BT > 0) & ((gate_BT - other_BT).abs() > 0.01)
    if not bool(both_BT.any()):
        return None
    one, two = first_BTO[both_BT] / gate_BT[both_BT][:, None], second_BTO[both_BT] / other_BT[both_BT][:, None]
    return float((one - two).norm() / one.norm().clamp_min(1e-12))


def _contribution(layer: Layer, x_BTD: Tensor) -> tuple[Tensor, Tensor]:
    """What expert 0 adds to each token, and the weight that the token gives it."""
    routing, shape = layer.route(x_BTD, Context()), (len(x_BTD), layer.num_experts)
    chosen_BTK, weight_BTK, kept_BTK = choices_of(routing)
    gate_BT = (weight_BTK * kept_BTK * (chosen_BTK == 0)).sum(-1)
    alone_BTO = layer.compute(x_BTD, routing, keep(*shape, [0])) - layer.compute(x_BTD, routing, keep(*shape, []))
    return alone_BTO, gate_BT


def check_gate_is_one_softmax(subject: CheckSubject) -> None:
    """With sharp logits an expert's weight does not end at the ceiling that a second softmax leaves."""
    if subject.variant.mass not in ("exact", "at_most"):
        raise NotApplicable("its masses are not weights that sum to one for a token.")
    for built in subject.trials():
        experts, top = built.layer.num_experts, built.layer.top_k
        highest = _highest_weight(subject, built)
        for over in {experts, top or experts} - {1}:
            ceiling = math.e / (math.e + over - 1)
            if abs(highest - ceiling) < 0.01 * ceiling:
                raise built.failed(
                    f"never gives an expert more than {highest:.3f} of a token's weight, however sharp its "
                    f"logits: e / (e + {over - 1}) = {ceiling:.3f} is where a second softmax over {over} ends"
                )
        if highest < 0.9 and experts > 1:
            subject.note(f"no expert ever gets more than {highest:.3f} of a token's weight{built.words}.")


@torch.no_grad()
def _highest_weight(subject: CheckSubject, built: BuiltLayer) -> float:
    """The largest mass of an expert over 256 inputs of one token, with router and inputs scaled up."""
    x_BTD, highest = subject.inputs(batch=256, tokens=1), 0.0
    for scale in (1.0, 30.0, 1000.0):
        layer = perturb(subject.build(built.settings, **subject.one_token).eval())
        for name in _router_parameters(layer):
            layer.get_parameter(name).mul_(scale)
        for loud in (1.0, 1000.0):
            mass_BE = layer.route(x_BTD * loud, Context()).mass_BE
            if mass_BE is not None:
                highest = max(highest, float(mass_BE.nan_to_num(0.0).max()))
    return highest
