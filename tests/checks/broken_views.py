"""Layers for several targets that do not keep to their views."""

from __future__ import annotations

import torch
from cases import caught_by

from moebench.contract import Routing
from moevariants.mmoe import MMoE, MMoELayer
from moevariants.parts.experts import Experts
from moevariants.parts.views import gate_logits


class Spoilt(MMoE):
    makes = MMoELayer

    def build(self, shape, size, *, experts=4):
        return self.makes(shape, Experts(experts, shape, size))


class AverageOfViews(MMoELayer):
    def compute(self, x, routing, keep=None):
        y = super().compute(x, routing, keep)
        return y + y.mean(1, keepdim=True) if self.shape.views else y


@caught_by("views_are_apart", "changes the output of view 'kind/second'", "gate_VDE")
class ViewsMixed(Spoilt):
    makes = AverageOfViews


class OneGateUsed(MMoELayer):
    def route(self, x, context):
        combine = gate_logits(x[:, None], self.gate_VDE[:1]).softmax(3)
        return Routing.by_view(combine.expand(-1, len(self.gate_VDE), -1, -1))


@caught_by("views_are_apart", "view 'kind/first'")
class GateShared(Spoilt):
    makes = OneGateUsed


class OneForEach(MMoELayer):
    def compute(self, x, routing, keep=None):
        views = routing.combine_BVTE.shape[1]
        parts = []
        for view in range(views):
            only = torch.zeros_like(routing.combine_BVTE)
            only[:, view] = routing.combine_BVTE[:, view]
            parts.append(super().compute(x, Routing.by_view(only), keep))
        return sum(parts)


@caught_by("views_share_the_experts", "3 views", "work once for all views")
class ExpertsForEachView(Spoilt):
    makes = OneForEach


class ViewsLast(MMoELayer):
    def compute(self, x, routing, keep=None):
        y = super().compute(x, routing, keep)
        return y.movedim(1, 3) if self.shape.views else y


@caught_by("views_have_outputs", "3 views")
class ViewsInTheWrongPlace(Spoilt):
    makes = ViewsLast


class NamesOfExperts(MMoELayer):
    def view_parameters(self):
        return {"experts.w_in_EDH": 0}


@caught_by("views_are_apart", "view_parameters()", "view axis 0")
class WrongViewAxis(Spoilt):
    makes = NamesOfExperts
