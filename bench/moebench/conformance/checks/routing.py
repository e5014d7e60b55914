"""What a layer says of its routing, and whether it is true."""

from __future__ import annotations

import torch
from torch import Tensor

from moebench.conformance.compare import same
from moebench.conformance.outcome import NotApplicable
from moebench.conformance.subject import Built, Subject
from moebench.contract import Routing

SLACK = 1e-4


ROUNDING = 1e-6
"""A share of the largest weight, by which a processor's softmax may differ from one token to the next."""


def check_mass_is_as_claimed(subject: Subject) -> None:
    """Masses are one nonnegative number per input and expert, and sum to what the trait says."""
    claim = subject.variant.traits.mass
    for built in subject.trials():
        mass_BE = built.layer.route(subject.inputs()).mass_BE
        if claim == "none":
            if mass_BE is not None:
                raise subject.failed(f"claims no mass, but route() gives one of shape {tuple(mass_BE.shape)}.")
            continue
        if mass_BE is None:
            raise subject.failed(f"claims mass={claim!r}, but route() gives none{built.words}.")
        _expect_mass(subject, built, mass_BE.detach(), subject.shape.tokens or 0)


def _expect_mass(subject: Subject, built: Built, mass_BE: Tensor, tokens: int) -> None:
    want, claim = (len(subject.inputs()), built.layer.num_experts), subject.variant.traits.mass
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


def check_choices_make_the_mass(subject: Subject) -> None:
    """For sparse routing the weights of the kept choices, summed by expert, are the masses."""
    for built in subject.trials():
        routing = built.layer.route(subject.inputs())
        chosen, weight, kept = sparse_parts(subject, built, routing)
        _expect_choices(subject, built, chosen, weight, kept)
        gate_BTE = torch.zeros(*chosen.shape[:2], built.layer.num_experts, dtype=weight.dtype)
        summed_BE = gate_BTE.scatter_add(2, chosen, weight.detach() * kept).sum(1)
        mass_BE = None if routing.mass_BE is None else routing.mass_BE.detach()
        if mass_BE is None or not same(mass_BE, summed_BE, SLACK):
            b, e = divmod(int((summed_BE - (0 if mass_BE is None else mass_BE)).abs().argmax()), summed_BE.shape[1])
            told = "none" if mass_BE is None else f"{float(mass_BE[b, e]):.5g}"
            raise subject.failed(
                f"gives expert {e} the mass {told} for input {b}, but the weights of its kept choices sum to "
                f"{float(summed_BE[b, e]):.5g}{built.words}."
            )


def sparse_parts(subject: Subject, built: Built, routing: Routing) -> tuple[Tensor, Tensor, Tensor]:
    """chosen, weight and kept of a sparse routing; not applicable if it has none of them."""
    three = (routing.chosen_BTK, routing.weight_BTK, routing.kept_BTK)
    if all(each is None for each in three):
        raise NotApplicable("its routing is not sparse.")
    chosen, weight, kept = three
    if chosen is None or weight is None or kept is None:
        raise subject.failed(
            f"gives only some of chosen_BTK, weight_BTK and kept_BTK; they come together{built.words}."
        )
    return chosen, weight, kept


def _expect_choices(subject: Subject, built: Built, chosen: Tensor, weight: Tensor, kept: Tensor) -> None:
    layer, want = built.layer, (*subject.inputs().shape[:2], built.layer.experts_per_token)
    if not chosen.shape == weight.shape == kept.shape == want:
        raise subject.failed(
            f"gives chosen, weight and kept of shapes {tuple(chosen.shape)}, {tuple(weight.shape)} and "
            f"{tuple(kept.shape)}; (inputs, tokens, experts_per_token) is {want}{built.words}."
        )
    if kept.dtype != torch.bool or chosen.is_floating_point():
        raise subject.failed(f"gives kept_BTK as {kept.dtype} and chosen_BTK as {chosen.dtype}: bool and int64.")
    if int(chosen.min()) < 0 or int(chosen.max()) >= layer.num_experts:
        raise subject.failed(f"chooses expert {int(chosen.max())} of {layer.num_experts}{built.words}.")
    # What found no room may name an expert again: its weight went to the choice that did.
    ordered = chosen.where(kept, -1 - torch.arange(want[-1], device=chosen.device)).sort(-1).values
    if bool((ordered[..., 1:] == ordered[..., :-1]).any()):
        raise subject.failed(f"chooses one expert twice for a token{built.words}.")


def check_whole_inputs_are_routed(subject: Subject) -> None:
    """Where it claims to route whole inputs, all tokens of an input have the same experts with the same weights."""
    if not subject.variant.traits.whole_input:
        raise NotApplicable("it does not claim to route whole inputs.")
    for built in subject.trials():
        combine_BTE = built.layer.combine_weights(built.layer.route(subject.inputs()))
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
        before = layer.route(x_BTD)
        with torch.no_grad():
            for name, parameter in layer.named_parameters():
                if name in axes:
                    parameter.fill_(torch.nan)
        after = layer.route(x_BTD)
        told = {"mass": (before.mass_BE, after.mass_BE), "weights": (before.weight_BTK, after.weight_BTK)}
        for what, (one, two) in told.items():
            if one is not None and (two is None or not torch.equal(one, two)):
                raise subject.failed(
                    f"uses the parameters of experts in route(): with NaN in {', '.join(axes)} its {what} "
                    f"change{built.words}. The router's own parameters belong to no expert."
                )
