"""Layers that misunderstand a mask."""

from __future__ import annotations

import dataclasses

import torch
from cases import caught_by
from good import GoodLayer


@caught_by("mask_is_obeyed", "ignores the mask", "with every expert masked")
class IgnoresTheMask(GoodLayer):
    def compute(self, x, routing, keep=None):
        return super().compute(x, routing)


@caught_by("mask_is_obeyed", "to which it gives no mass")
class SharedPartBelongsToTheFirst(GoodLayer):
    def compute(self, x, routing, keep=None):
        always = 1.0 if keep is None else keep[:, :1, None].to(x.dtype)
        return super().compute(x, routing, keep) + x * always


@caught_by("mask_really_skips", "computes masked experts", "filled with NaN", "became NaN", "scale them by 0")
class MultipliesByZero(GoodLayer):
    def compute(self, x, routing, keep=None):
        if keep is None:
            return super().compute(x, routing)
        gate = x.new_zeros(*x.shape[:2], self.num_experts)
        gate = gate.scatter(-1, routing.chosen_BTK, routing.weight_BTK) * keep[:, None]
        every = [self.expert(e, x) * gate[..., e, None] for e in range(self.num_experts)]
        return torch.stack(every).sum(0)


@caught_by("mask_really_skips", "computes masked experts", "FLOPs", "not drop their results")
class DropsWhatItComputed(GoodLayer):
    def compute(self, x, routing, keep=None):
        if keep is None:
            return super().compute(x, routing)
        y = x.new_zeros(*x.shape[:2], self.shape.out_dim)
        for e in range(self.num_experts):
            alone = torch.zeros_like(keep)
            alone[:, e] = True
            y = torch.where(keep[:, e, None, None], y + super().compute(x, routing, alone), y)
        return y


@caught_by("mask_adds_up", "does not add up", "weights of the others")
class RenormalisesTheKept(GoodLayer):
    def compute(self, x, routing, keep=None):
        if keep is not None:
            kept = keep[:, None].expand(-1, x.shape[1], -1).gather(2, routing.chosen_BTK)
            weight = routing.weight_BTK * kept
            weight = weight / weight.sum(-1, keepdim=True).clamp(min=1e-9)
            routing = dataclasses.replace(routing, weight_BTK=weight)
        return super().compute(x, routing, keep)


@caught_by("keep_all_is_no_mask", "with every expert kept from no mask")
class ScalesUnderAMask(GoodLayer):
    def compute(self, x, routing, keep=None):
        return super().compute(x, routing, keep) * (1.0 if keep is None else 1.1)


@caught_by("mask_is_per_input", "mixes up the masks of a batch")
class OneMaskForAll(GoodLayer):
    def compute(self, x, routing, keep=None):
        return super().compute(x, routing, None if keep is None else keep[:1].expand_as(keep))


@caught_by("mask_leaves_the_routing", "changes the routing it is handed")
class MasksForGood(GoodLayer):
    def compute(self, x, routing, keep=None):
        if keep is not None:
            for e in range(self.num_experts):
                routing.kept_BTK.logical_and_((routing.chosen_BTK != e) | keep[:, e, None, None])
        return super().compute(x, routing, keep)
