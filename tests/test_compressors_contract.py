"""A reduced layer, merged, factored and pruned, keeps the whole contract."""

import torch

from moebench.checks import conformance
from moebench.checks.run import chosen_checks
from moevariants.compressors.factored import FactoredExperts
from moevariants.compressors.reduced import ReducedLayer
from moevariants.parts.experts import Experts
from moevariants.sparse_topk import SparseTopK


class Merged(SparseTopK):
    """Sparse top-k whose experts are shared by two names of the router each, as a variant that can be checked."""

    single_expert = ""  # its router knows two
    tune = {"experts": (8, 4), "loss/balance": (0.01,)}
    rank = None

    def build(self, shape, size, *, experts=8, losses=("balance",)):
        layer = SparseTopK.build(self, shape, size, experts=2 * experts, losses=losses)
        half, names = layer.num_experts // 2, torch.arange(layer.num_experts)
        bank = Experts(half, shape, size)
        reduced = FactoredExperts(bank, min(self.rank, size), 1) if self.rank else bank
        return ReducedLayer(layer, reduced, names // 2, self.open_E(names))

    def open_E(self, names):
        return None


class Factored(Merged):
    rank = 2


class Pruned(Merged):
    """Of two names of the router one is closed; it learns from its teacher, so it has no losses of its own."""

    tune = {"experts": (8, 4)}

    def open_E(self, names):
        return names % 2 == 0


@conformance(Merged)
def test_merged(check):
    check()


# Factoring decomposes all weights at each of the hundreds of builds that these take, and is not sized by a budget.
SLOW = {"budget_is_met", "rules_of_the_budget", "sampled_settings_build"}


@conformance(Factored, only={*chosen_checks(None)} - SLOW)
def test_factored(check):
    check()


@conformance(Pruned)
def test_pruned(check):
    check()
