"""Variants that promise wrongly, or cannot be built as they offer."""

from __future__ import annotations

import random

import torch
from cases import caught_by
from good import Good, GoodLayer
from torch import nn

from moebench.contract import Choice, Space
from moevariants.dense import DenseLayer


@caught_by("name_and_traits", "separable='yes'", "True, False", separable="yes")
class ClaimsInWords(Good): ...


@caught_by("name_and_traits", "causal", "looks ahead", whole_input=True)
class WholeAndCausal(Good): ...


@caught_by("name_and_traits", "paper='javascript:alert(1)'", "https://", paper="javascript:alert(1)")
class PaperThatRuns(Good): ...


@caught_by("space", "'Experts'", "lower-case")
class LoudSetting(Good):
    def space(self, shape):
        return Space({"Experts": Choice((4, 8))})


@caught_by("space", "at the second call", "experts")
class FickleSpace(Good):
    def space(self, shape):
        return Space({"experts": Choice(tuple(random.SystemRandom().sample(range(1, 10**9), 4)))})


@caught_by("sampled_settings_build", "the default settings", "cannot meet", "nearest")
class UnreachableOptions(Good):
    tune = {"experts": (2048, 4096)}


@caught_by("sampled_settings_build", "top_k=0", "refuses", "ValueError: top_k is 0")
class OptionItRefuses(Good):
    tune = {"top_k": (2, 0)}

    def build(self, shape, size, *, top_k=2, **settings):
        if not top_k and size == 4:
            raise ValueError("top_k is 0")
        return super().build(shape, size, top_k=top_k or 1, **settings)


@caught_by("budget_is_met", "holds 47,776", "budget is 24,000", "meta device", "24,016")
class MoreThanItCounted(Good):
    def build(self, shape, size, **settings):
        on_meta = torch.empty(0).device.type == "meta"
        return super().build(shape, size if on_meta else 2 * size, **settings)


@caught_by("parameters_grow_with_size", "at size 1 and", "at size 2", "must grow")
class SizeIgnored(Good):
    def build(self, shape, size, **settings):
        return super().build(shape, 90, **settings)


@caught_by("routing_is_a_routing", "'gate'", "(16, 4)", "expert axis 0")
class WrongExpertAxis(GoodLayer):
    def expert_parameters(self):
        return {**super().expert_parameters(), "gate": 0}


@caught_by("single_expert", "plain MLP", "differs from it")
class SigmoidGate(GoodLayer):
    def weights(self, logits, chosen):
        return logits.gather(-1, chosen).sigmoid()


@caught_by(
    "single_expert",
    "one output for all tokens",
    "token 0 differs",
    single_expert="pooled",
    causal=False,
)
class NotPooled(Good): ...


@caught_by("mass_is_as_claimed", "sum to the 7 tokens", "they sum to 1")
class MassIsAMean(GoodLayer):
    def weights(self, logits, chosen):
        return super().weights(logits, chosen) / logits.shape[1]


@caught_by("impossible_budget_is_refused", "for a budget of 10", "fewer than one layer needs")
class ShrinksToFit(Good):
    def build(self, shape, size, **settings):
        layer = super().build(shape, size, **settings)
        if size < 8:
            for name, parameter in list(layer.named_parameters()):
                setattr(layer, name, nn.Parameter(parameter.flatten()[:1]))
        return layer


@caught_by("routing_is_a_routing", "claims separable experts, but has none")
class SeparatesNobody(Good):
    tune = {}

    def build(self, shape, size):
        return DenseLayer(shape, size)
