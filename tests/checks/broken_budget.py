"""Layers that have more than they show."""

from __future__ import annotations

import numpy as np
import other_weights as other
import torch
from cases import caught_by
from good import GoodLayer
from torch import nn

from moebench.contract import Context


@caught_by("nothing_is_hidden", "keeps a Linear", "'extra'", "nn.ModuleList")
class ModulesInAList(GoodLayer):
    def __init__(self, shape, *sizes):
        super().__init__(shape, *sizes)
        self.extra = [nn.Linear(shape.dim, shape.out_dim)]


@caught_by("nothing_is_hidden", "before its first forward pass", "after it")
class ParametersMadeLate(GoodLayer):
    def compute(self, x, routing, keep=None):
        if not hasattr(self, "late"):
            self.late = nn.Parameter(torch.randn(x.shape[-1], self.shape.out_dim))
        return super().compute(x, routing, keep) + x @ self.late


@caught_by("nothing_is_hidden", "keeps 256 numbers", "the class attribute 'WeightsInItsClass.tables'")
class WeightsInItsClass(GoodLayer):
    tables = {"mix": [torch.ones(16, 16)]}

    def compute(self, x, routing, keep=None):
        return super().compute(x, routing, keep) + x @ self.tables["mix"][0]


TABLE = torch.ones(16, 16)
EPSILON = torch.tensor(1e-6)


def mixed(x):
    return x @ TABLE + EPSILON


@caught_by("nothing_is_hidden", "keeps 256 numbers", "the global 'TABLE' of 'broken_budget'")
class WeightsInAGlobal(GoodLayer):
    def compute(self, x, routing, keep=None):
        return super().compute(x, routing, keep) + mixed(x)


@caught_by("nothing_is_hidden", "keeps a Linear", "the global 'other.HEAD' of 'broken_budget'")
class WeightsInAnotherModule(GoodLayer):
    def compute(self, x, routing, keep=None):
        return super().compute(x, routing, keep) + other.HEAD(x)


@caught_by("nothing_is_hidden", "keeps 256 numbers", "the plain attribute 'table'")
class WeightsInAnArray(GoodLayer):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.table = np.ones((16, 16))


@caught_by("rules_of_the_budget", "floating-point buffers", "0.1 %")
class WeightsInABuffer(GoodLayer):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.register_buffer("table", torch.randn(64, 64), persistent=False)


@caught_by("nominal_routing_is_honest", "nominal_routing()", "random tokens")
class CheapWhenAsked(GoodLayer):
    def nominal_routing(self, x):
        routing = self.route(x, Context())
        routing.kept_BTK[:, :, 1:] = False
        return routing


@caught_by("active_parameters_are_counted", "of 1.5 experts a token", "2.00 have weight")
class CountsFewActive(GoodLayer):
    def mean_experts_per_token(self):
        return 1.5


@caught_by("every_parameter_learns", "trains gate by no gradient")
class DetachedRouter(GoodLayer):
    def logits(self, x):
        return super().logits(x).detach()


@caught_by("every_parameter_learns", "gives expert 2 a mass", "w_in")
class OneExpertFrozenByHand(GoodLayer):
    def expert(self, e, rows):
        rows = super().expert(e, rows)
        return rows.detach() if e == 2 else rows


@caught_by("input_gets_gradient", "no gradient on to its input")
class DetachedInput(GoodLayer):
    def compute(self, x, routing, keep=None):
        return super().compute(x.detach(), routing, keep)

    def weights(self, logits, chosen):
        return super().weights(logits.detach(), chosen)


@caught_by("learns_toy_set", "does not learn 32 inputs", "150 steps")
class HardlyLearns(GoodLayer):
    def compute(self, x, routing, keep=None):
        y = super().compute(x, routing, keep)
        return y.detach() + 0.0 * y
