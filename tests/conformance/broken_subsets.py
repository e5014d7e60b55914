"""Layers that tell whoever picks a subset of their experts something else than what they do."""

from __future__ import annotations

import dataclasses

import torch
from cases import caught_by
from good import GoodLayer
from honest import Ruled, RuledLayer

BOTH = {"traits": Ruled.traits}


@caught_by("combine_weights_make_the_mass", "do not sum over tokens to its masses")
class CombinesBeforeDrops(GoodLayer):
    def combine_weights(self, routing):
        return super().combine_weights(routing) / 2


@caught_by("combine_weights_make_the_mass", "combine weights of shape (4, 4, 7)", "(4, 7, 4)")
class CombinesTheOtherWay(GoodLayer):
    def combine_weights(self, routing):
        return super().combine_weights(routing).transpose(1, 2)


@caught_by("dispatch_weights_are_shares", "the dispatch weight 7", "at most 1")
class DispatchesInCounts(GoodLayer):
    def dispatch_weights(self, routing):
        return torch.full_like(self.combine_weights(routing), float(routing.weight_BTK.shape[1]))


@caught_by("dispatch_weights_are_shares", "the dispatch weight -1")
class DispatchesLogits(GoodLayer):
    def dispatch_weights(self, routing):
        return self.combine_weights(routing) - 1


@caught_by("contribution_norms_are_of_masks", "with all others masked it adds")
class NormOfTheSum(GoodLayer):
    def contribution_norms(self, x, routing):
        nobody = torch.zeros(len(x), self.num_experts, dtype=torch.bool)
        alone = [nobody.index_fill(1, torch.tensor(e), True) for e in range(self.num_experts)]
        return torch.stack([self.compute(x, routing, keep).sum(1).norm(dim=1) for keep in alone], 1)


@caught_by("contribution_norms_are_of_masks", "gives None for the norms")
class TellsNoNorms(GoodLayer):
    def contribution_norms(self, x, routing):
        return None


@caught_by("rules_are_as_claimed", "claims the rules ('renormalise', 'mask_logits') in its traits", **BOTH)
class ClaimsRulesItHasNot(GoodLayer):
    pass


@caught_by("rules_are_as_claimed", "takes the combination rule 'no_such_rule'", **BOTH)
class TakesAnyRule(RuledLayer):
    def restrict(self, x, routing, keep, rule):
        return self.renormalise(x, routing, keep) if rule == "renormalise" else self.mask_logits(x, routing, keep)


@caught_by("rules_are_as_claimed", "outside the subset under 'renormalise'", **BOTH)
class TellsTheOldMass(RuledLayer):
    def renormalise(self, x, routing, keep):
        return dataclasses.replace(super().renormalise(x, routing, keep), mass_BE=routing.mass_BE)


@caught_by("rules_are_as_claimed", "not finite under 'renormalise'", "stays 0", **BOTH)
class DividesByNothing(RuledLayer):
    def shared_out(self, weight):
        return weight / weight.sum(-1, keepdim=True)

    def compute(self, x, routing, keep=None):
        return super().compute(x, routing, keep) + 0 * routing.weight_BTK.sum()


@caught_by("rules_are_as_claimed", "with no expert kept", **BOTH)
class KeepsSomebody(RuledLayer):
    def renormalise(self, x, routing, keep):
        return dataclasses.replace(super().renormalise(x, routing, keep), state=1.0)

    def compute(self, x, routing, keep=None):
        return super().compute(x, routing, keep) + (routing.state or 0.0)


@caught_by("rules_are_as_claimed", "changes the routing it is handed in restrict() by 'renormalise'", **BOTH)
class RestrictsForGood(RuledLayer):
    def renormalise(self, x, routing, keep):
        restricted = super().renormalise(x, routing, keep)
        routing.kept_BTK.copy_(restricted.kept_BTK)
        return restricted


@caught_by("rules_are_as_claimed", "mixes up a batch under 'mask_logits'", **BOTH)
class ChoosesAmongThoseOfTheBatch(RuledLayer):
    def mask_logits(self, x, routing, keep):
        return super().mask_logits(x, routing, keep & keep.any(0) & (keep.sum(0) < len(keep)))


@caught_by("renormalise_shares_out_one", "does not share out 1", **BOTH)
class SharesOutTwo(RuledLayer):
    def shared_out(self, weight):
        return 2 * super().shared_out(weight)


@caught_by("renormalise_shares_out_one", "over their sum in the subset", **BOTH)
class SharesOutEvenly(RuledLayer):
    def shared_out(self, weight):
        return super().shared_out((weight > 0).to(weight.dtype))


@caught_by("mask_logits_of_all_is_no_rule", "with every expert kept from no rule", **BOTH)
class WeighsAnew(RuledLayer):
    def mask_logits(self, x, routing, keep):
        restricted = super().mask_logits(x, routing, keep)
        weight = restricted.weight_BTK.softmax(-1)
        return self.told(routing, restricted.chosen_BTK, weight, restricted.kept_BTK)


@caught_by("mask_logits_of_all_is_no_rule", "less mass under 'mask_logits' when it is alone", **BOTH)
class ChoosesTheLeastLikely(RuledLayer):
    def mask_logits(self, x, routing, keep):
        restricted = super().mask_logits(x, routing, keep)
        if bool(keep.all()):
            return restricted
        return self.told(routing, restricted.chosen_BTK, restricted.weight_BTK / 9, restricted.kept_BTK)
