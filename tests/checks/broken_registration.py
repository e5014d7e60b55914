"""Variants that promise wrongly, or cannot be built as they offer."""

from __future__ import annotations

import random

import torch
from cases import caught_by
from good import Good, GoodLayer
from torch import nn

from moebench.contract import Choice, Routing, Space, Uniform
from moevariants.dense import DenseLayer


@caught_by("name_and_traits", "separable='yes'", "True, False", separable="yes")
class ClaimsInWords(Good): ...


@caught_by("name_and_traits", "mass='about'", "exact", mass="about")
class NoSuchMass(Good): ...


@caught_by("name_and_traits", "causal", "looks ahead", whole_input=True)
class WholeAndCausal(Good): ...


@caught_by("name_and_traits", "hosts", "'images'", hosts=("images",))
class NoSuchHost(Good): ...


@caught_by("space", "'Experts'", "lower-case")
class LoudSetting(Good):
    def space(self, shape):
        return Space({"Experts": Choice((4, 8))})


@caught_by("space", "raises ValueError", "outside 0.001 to 0.1")
class DefaultOutside(Good):
    def space(self, shape):
        return Space({"loss/balance": Uniform(1e-3, 1e-1, 0.5)})


@caught_by("space", "at the second call", "experts")
class FickleSpace(Good):
    def space(self, shape):
        return Space({"experts": Choice(tuple(random.SystemRandom().sample(range(1, 10**9), 4)))})


@caught_by("space", "returns a dict")
class PlainSpace(Good):
    def space(self, shape):
        return dict(super().space(shape))


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


@caught_by("sampled_settings_build", "refuses", "build() gave Linear", "moebench.contract.Layer")
class NoLayer(Good):
    def build(self, shape, size, **settings):
        return nn.Linear(shape.dim, size) if size == 4 else super().build(shape, size, **settings)


@caught_by("budget_is_met", "holds 47,776", "budget is 24,000", "meta device", "24,016")
class MoreThanItCounted(Good):
    def build(self, shape, size, **settings):
        on_meta = torch.empty(0).device.type == "meta"
        return super().build(shape, size if on_meta else 2 * size, **settings)


@caught_by("budget_is_met", "budget is 24,000", "in 2 layers")
class SecondLayerLarger(Good):
    def build(self, shape, size, **settings):
        return super().build(shape, size * (1 + shape.index), **settings)


@caught_by("parameters_grow_with_size", "at size 1 and", "at size 2", "must grow")
class SizeIgnored(Good):
    def build(self, shape, size, **settings):
        return super().build(shape, 90, **settings)


@caught_by("routing_is_a_routing", "returns a tuple", "Routing")
class TupleRouting(GoodLayer):
    def route(self, x, context):
        routing = super().route(x, context)
        return routing.chosen_BTK, routing.weight_BTK


@caught_by("routing_is_a_routing", "'gate'", "(16, 4)", "expert axis 0")
class WrongExpertAxis(GoodLayer):
    def expert_parameters(self):
        return {**super().expert_parameters(), "gate": 0}


@caught_by("routing_is_a_routing", "'experts.w'", "none of its parameters")
class NoSuchParameter(GoodLayer):
    def expert_parameters(self):
        return {"experts.w": 0}


@caught_by("single_expert", "plain MLP", "differs from it")
class SigmoidGate(GoodLayer):
    def weights(self, logits, chosen):
        return logits.gather(-1, chosen).sigmoid()


@caught_by("single_expert", "cannot be built with experts=1", "at least 2")
class NeverOneExpert(Good):
    def build(self, shape, size, *, experts=4, **settings):
        if experts == 1:
            raise ValueError("experts must be at least 2")
        return super().build(shape, size, experts=experts, **settings)


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


@caught_by("mass_is_as_claimed", "at most the 7 tokens", "14", mass="at_most")
class TooMuchMass(GoodLayer):
    def weights(self, logits, chosen):
        return 2 * super().weights(logits, chosen)


@caught_by("mass_is_as_claimed", "has 4 experts", "gives no mass")
class MassKeptBack(GoodLayer):
    def route(self, x, context):
        return Routing(state=super().route(x, context))

    def compute(self, x, routing, keep=None):
        return super().compute(x, routing.state, keep)


@caught_by("name_and_traits", "causal", "pooling looks ahead", single_expert="pooled")
class CausalAndPooled(Good): ...


@caught_by("space", "offers a tuple for 'experts'", "Choice or Uniform")
class BareOptions(Good):
    def space(self, shape):
        return Space({"experts": (4, 8)})


@caught_by("sampled_settings_build", "forward() fails: IndexError")
class ForwardRaises(GoodLayer):
    def compute(self, x, routing, keep=None):
        return x[:, :, 99]


@caught_by("impossible_budget_is_refused", "for a budget of 10", "fewer than one layer needs")
class ShrinksToFit(Good):
    def build(self, shape, size, **settings):
        layer = super().build(shape, size, **settings)
        if size < 8:
            for name, parameter in list(layer.named_parameters()):
                setattr(layer, name, nn.Parameter(parameter.flatten()[:1]))
        return layer


@caught_by("routing_is_a_routing", "num_experts=0", "is of 4 experts")
class NoExperts(GoodLayer):
    def route(self, x, context):
        routing = super().route(x, context)
        self.num_experts = 0
        return routing


@caught_by("routing_is_a_routing", "top_k=9 of 4")
class MoreChoicesThanExperts(GoodLayer):
    def route(self, x, context):
        routing = super().route(x, context)
        self.top_k = 9
        return routing


@caught_by("routing_is_a_routing", "expert_parameters() lists none")
class ListsNoExpertParameters(GoodLayer):
    def expert_parameters(self):
        return {}


@caught_by("single_expert", "not those of one", "extra (1, 16, 16)")
class ThreeMatrices(GoodLayer):
    def __init__(self, shape, hidden, experts, top_k):
        super().__init__(shape, hidden, experts, top_k)
        self.extra = nn.Parameter(torch.randn(experts, shape.dim, shape.out_dim))

    def expert(self, e, rows):
        return super().expert(e, rows) + rows @ self.extra[e]

    def expert_parameters(self):
        return {**super().expert_parameters(), "extra": 0}


@caught_by("mass_is_as_claimed", "gives the mass -")
class NegativeMass(GoodLayer):
    def weights(self, logits, chosen):
        return -super().weights(logits, chosen)


@caught_by("mass_is_as_claimed", "claims mass='exact', but has no experts")
class MassWithoutExperts(Good):
    tune = {}

    def build(self, shape, size):
        return DenseLayer(shape, size)


@caught_by("routing_is_a_routing", "claims separable experts, but has none")
class SeparatesNobody(Good):
    tune = {}

    def build(self, shape, size):
        return DenseLayer(shape, size)
