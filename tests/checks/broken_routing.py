"""Layers whose routing is not what they say, and losses that are not what they seem."""

from __future__ import annotations

import dataclasses

import torch
from cases import caught_by
from good import Good, GoodLayer


@caught_by("whole_inputs_are_routed", "of input", "from that of token 0", causal=False, whole_input=True)
class RoutesTokens(GoodLayer): ...


@caught_by("choices_are_well_formed", "chooses expert 4 of 4")
class ChoosesNobody(GoodLayer):
    def route(self, x, context):
        routing = super().route(x, context)
        return dataclasses.replace(routing, chosen_BTK=routing.chosen_BTK + 1)


@caught_by("weights_are_those_applied", "other weights than weight_BTK")
class WeighsTwice(GoodLayer):
    def compute(self, x, routing, keep=None):
        weight = routing.weight_BTK**2
        return super().compute(x, dataclasses.replace(routing, weight_BTK=weight), keep)


@caught_by("gate_is_one_softmax", "second softmax over 2", "0.731")
class DoubleSoftmaxOverChosen(GoodLayer):
    def weights(self, logits, chosen):
        return super().weights(logits, chosen).softmax(-1)


@caught_by("route_does_no_expert_work", "in route()", "w_in")
class RoutesByExperts(GoodLayer):
    def logits(self, x):
        return super().logits(x) + self.w_in.norm(dim=(1, 2))


@caught_by("losses_are_scalars", "'balance'", "(4, 7)", "scalar")
class LossPerToken(GoodLayer):
    def losses(self, logits, chosen, real):
        return {"balance": logits.logsumexp(-1)}


@caught_by("loss_weights_have_losses", "'loss/z'", "gives balance")
class WeightWithoutLoss(Good):
    tune = {**Good.tune, "loss/z": (0.0, 1e-3)}


HISTORY = []


@caught_by("losses_do_not_accumulate", "at the first call", "at the fourth")
class LossesInAGlobal(GoodLayer):
    def losses(self, logits, chosen, real):
        HISTORY.append(super().losses(logits, chosen, real)["balance"])
        return {"balance": torch.stack(HISTORY[-50:]).sum()}


@caught_by("losses_are_over_the_batch", "inside each input", "'balance'")
class BalancesEachInput(GoodLayer):
    def losses(self, logits, chosen, real):
        each = zip(logits.split(1), chosen.split(1), real.split(1), strict=True)
        of_one = super().losses
        return {"balance": torch.stack([of_one(*parts)["balance"] for parts in each]).mean()}
