"""Layers that tell whoever picks a subset of their experts something else than what they do."""

from __future__ import annotations

import torch
from cases import caught_by
from good import GoodLayer
from honest import RuledLayer


@caught_by("combine_weights", "gives the combine weight -0.")
class TakesAway(GoodLayer):
    def weights(self, logits, chosen):
        return super().weights(logits, chosen) - 0.6


@caught_by("dispatch_weights_are_shares", "the dispatch weight 7", "at most 1")
class DispatchesInCounts(GoodLayer):
    def dispatch_weights(self, routing):
        return torch.full_like(routing.combine_BTE, float(routing.weight_BTK.shape[1]))


@caught_by("contribution_norms_are_of_masks", "with all others masked it adds")
class NormOfTheSum(GoodLayer):
    def contribution_norms(self, x, routing):
        nobody = torch.zeros(len(x), self.num_experts, dtype=torch.bool)
        alone = [nobody.index_fill(1, torch.tensor(e), True) for e in range(self.num_experts)]
        return torch.stack([self.compute(x, routing, keep).sum(1).norm(dim=1) for keep in alone], 1)


@caught_by("rules_are_as_claimed", "outside the subset under 'renormalise'")
class TellsTheOldMass(RuledLayer):
    def renormalise(self, x, routing, keep):
        return routing


@caught_by("rules_are_as_claimed", "not finite under 'renormalise'", "stays 0")
class DividesByNothing(RuledLayer):
    def shared_out(self, weight):
        return weight / weight.sum(-1, keepdim=True)

    def compute(self, x, routing, keep=None):
        return super().compute(x, routing, keep) + 0 * routing.weight_BTK.sum()


@caught_by("rules_are_as_claimed", "changes the routing it is handed in restrict() by 'renormalise'")
class RestrictsForGood(RuledLayer):
    def renormalise(self, x, routing, keep):
        restricted = super().renormalise(x, routing, keep)
        routing.kept_BTK.copy_(restricted.kept_BTK)
        return restricted


@caught_by("rules_are_as_claimed", "mixes up a batch under 'mask_logits'")
class ChoosesAmongThoseOfTheBatch(RuledLayer):
    def mask_logits(self, x, routing, keep):
        return super().mask_logits(x, routing, keep & keep.any(0) & (keep.sum(0) < len(keep)))


@caught_by("renormalise_shares_out_one", "does not share out 1")
class SharesOutTwo(RuledLayer):
    def shared_out(self, weight):
        return 2 * super().shared_out(weight)


@caught_by("mask_logits_of_all_is_no_rule", "with every expert kept from no rule")
class WeighsAnew(RuledLayer):
    def mask_logits(self, x, routing, keep):
        restricted = super().mask_logits(x, routing, keep)
        weight = restricted.weight_BTK.softmax(-1)
        return self.told(routing, restricted.chosen_BTK, weight, restricted.kept_BTK)
