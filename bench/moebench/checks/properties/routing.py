"""What a layer says of its routing, and whether it is true."""

from __future__ import annotations

import torch
from torch import Tensor

from moebench.checks.outcome import NotApplicable
from moebench.checks.subject import Built, Subject
from moebench.contract import Context, Routing

SLACK = 1e-4


ROUNDING = 1e-6
"""A share of the largest weight, by which a processor's softmax may differ from one token to the next."""


def check_mass_is_as_claimed(subject: Subject) -> None:
    """Masses are one nonnegative number per input and expert, and sum to what the trait says."""
    claim = subject.variant.mass
    for built in subject.trials():
        mass_BE = built.layer.route(subject.inputs(), Context()).mass_BE
        if mass_BE is None and not built.layer.num_experts:
            if claim != "free":
                raise subject.failed(f"claims mass={claim!r}, but has no experts{built.words}.")
            raise NotApplicable("it has no experts.")
        if mass_BE is None:
            raise subject.failed(f"has {built.layer.num_experts} experts, but its routing gives no mass{built.words}.")
        _expect_mass(subject, built, mass_BE, subject.shape.tokens or 0)


def _expect_mass(subject: Subject, built: Built, mass_BE: Tensor, tokens: int) -> None:
    want, claim = (len(subject.inputs()), built.layer.num_experts), subject.variant.mass
    if tuple(mass_BE.shape) != want:
        raise subject.failed(f"gives masses of shape {tuple(mass_BE.shape)}; (inputs, experts) is {want}{built.words}.")
    if not bool(torch.isfinite(mass_BE).all()) or float(mass_BE.min()) < 0:
        raise subject.failed(f"gives the mass {float(mass_BE.min()):.4g} to an expert{built.words}.")
    sums_B = mass_BE.double().sum(1)
    worst = int((sums_B - tokens).abs().argmax()) if claim == "exact" else int(sums_B.argmax())
    total = float(sums_B[worst])
    if claim == "exact" and abs(total - tokens) > SLACK * tokens:
        raise subject.failed(
            f"claims masses that sum to the {tokens} tokens of an input; they sum to {total:.6g}{built.words}."
        )
    if claim == "at_most" and total > tokens * (1 + SLACK):
        raise subject.failed(
            f"claims masses that sum to at most the {tokens} tokens of an input; they sum to {total:.6g}{built.words}."
        )


def check_choices_are_well_formed(subject: Subject) -> None:
    """Where tokens choose, each token has K experts out of E, K weights, and K booleans."""
    for built in subject.trials():
        layer, (chosen, weight, kept) = built.layer, choices_of(built.layer.route(subject.inputs(), Context()))
        want = (*subject.inputs().shape[:2], layer.top_k)
        if not chosen.shape == weight.shape == kept.shape == want:
            raise subject.failed(
                f"gives chosen, weight and kept of shapes {tuple(chosen.shape)}, {tuple(weight.shape)} and "
                f"{tuple(kept.shape)}; (inputs, tokens, top_k) is {want}{built.words}."
            )
        if kept.dtype != torch.bool or chosen.is_floating_point():
            raise subject.failed(f"gives kept_BTK as {kept.dtype} and chosen_BTK as {chosen.dtype}: bool and int64.")
        if int(chosen.min()) < 0 or int(chosen.max()) >= layer.num_experts:
            raise subject.failed(f"chooses expert {int(chosen.max())} of {layer.num_experts}{built.words}.")


def choices_of(routing: Routing) -> tuple[Tensor, Tensor, Tensor]:
    """chosen, weight and kept of a sparse routing; not applicable where tokens choose no experts."""
    if routing.chosen_BTK is None or routing.weight_BTK is None:
        raise NotApplicable("its tokens choose no experts.")
    every_BTK = torch.ones_like(routing.chosen_BTK, dtype=torch.bool)
    return routing.chosen_BTK, routing.weight_BTK, every_BTK if routing.kept_BTK is None else routing.kept_BTK


def check_whole_inputs_are_routed(subject: Subject) -> None:
    """Where it claims to route whole inputs, all tokens of an input have the same experts with the same weights."""
    if not subject.variant.whole_input:
        raise NotApplicable("it does not claim to route whole inputs.")
    for built in subject.trials():
        combine_BTE = built.layer.route(subject.inputs(), Context()).combine_BTE
        if combine_BTE is None:
            raise subject.failed(f"claims to route whole inputs, but shows no combine weights{built.words}.")
        apart_BT = (combine_BTE - combine_BTE[:, :1]).detach().abs().amax(2)
        if bool((apart_BT > ROUNDING * combine_BTE.abs().max()).any()):
            b, t = divmod(int(apart_BT.argmax()), apart_BT.shape[1])
            raise subject.failed(
                f"claims to route whole inputs, but a weight of token {t} of input {b} differs by "
                f"{float(apart_BT[b, t]):.3g} from that of token 0{built.words}."
            )


def check_route_does_no_expert_work(subject: Subject) -> None:
    """route() does not touch the parameters of experts: with NaN in all of them it decides the same."""
    for built in subject.trials():
        layer, x_BTD = built.layer, subject.inputs()
        axes = layer.expert_parameters()
        if not axes:
            raise NotApplicable("it lists no expert parameters.")
        before = layer.route(x_BTD, Context())
        with torch.no_grad():
            for name, parameter in layer.named_parameters():
                if name in axes:
                    parameter.fill_(torch.nan)
        after = layer.route(x_BTD, Context())
        told = {"mass": (before.mass_BE, after.mass_BE), "weights": (before.combine_BTE, after.combine_BTE)}
        for what, (one, two) in told.items():
            if one is not None and (two is None or not torch.equal(one, two)):
                raise subject.failed(
                    f"uses the parameters of experts in route(): with NaN in {', '.join(axes)} its {what} "
                    f"change{built.words}. The router's own parameters belong to no expert."
                )
