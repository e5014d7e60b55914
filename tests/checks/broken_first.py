"""Layers that do not work at all, and those that hide what they hold or change."""

from __future__ import annotations

import functools

import torch
from cases import caught_by
from good import Good, GoodLayer


@caught_by("works", "fails in forward(): RuntimeError: no such day", "broken_first.py, line")
class RaisesInForward(GoodLayer):
    def compute(self, x, routing, keep=None):
        raise RuntimeError("no such day")


@caught_by("works", "fails in the backward pass")
class RaisesInBackward(GoodLayer):
    def compute(self, x, routing, keep=None):
        y = super().compute(x, routing, keep)
        if y.requires_grad:
            y.register_hook(lambda gradient: gradient[:, :1])
        return y


@caught_by("works", "cannot be built", "ValueError: no")
class CannotBeBuilt(Good):
    def build(self, shape, size, *, experts=4, top_k=2):
        layer = super().build(shape, size, experts=experts, top_k=top_k)
        if not layer.gate.is_meta:
            raise ValueError("no")
        return layer


@caught_by("nothing_is_hidden", "the hooks of gate")
class HooksThatHold(GoodLayer):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        kept = []
        self.gate.register_hook(lambda gradient: kept.append(gradient))


@caught_by("nothing_is_hidden", "plain attribute 'extra'", "64 numbers")
class Closure(GoodLayer):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        weight = torch.ones(8, 8)
        self.extra = functools.partial(lambda x: x.mean() * weight.mean())


class Shelf:
    def __init__(self):
        self.weights = {"a": torch.ones(5, 5)}


@caught_by("nothing_is_hidden", "plain attribute 'shelf'", "25 numbers")
class PlainObject(GoodLayer):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.shelf = Shelf()


@caught_by("input_is_left_alone", "writes into its input in training")
class WritesInTraining(GoodLayer):
    def compute(self, x, routing, keep=None):
        y = super().compute(x, routing, keep)
        if self.training:
            x.data.mul_(1.01)
        return y


@caught_by("every_drawn_weight_differs", "draws the same gate under seeds 5 and 6")
class OneGateForAllSeeds(GoodLayer):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        with torch.no_grad():
            self.gate.normal_(generator=torch.Generator().manual_seed(3))


@caught_by("training_pass_leaves_weights", "changes gate in a forward pass in training")
class TrainsInForward(GoodLayer):
    def route(self, x, context):
        if self.training:
            self.gate.data.mul_(1.001)
        return super().route(x, context)


@caught_by("integer_buffers_are_counts", "integer buffers table")
class WeightsInIntegers(GoodLayer):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.register_buffer("table", torch.zeros(64, 64, dtype=torch.int64))

    def after_step(self):
        self.table += 1


class OtherEachTime(GoodLayer):
    calls = 0


@caught_by("flops_of_any_weights", "built twice under one seed")
class WiderEachTime(Good):
    def build(self, shape, size, *, experts=4, top_k=2):
        OtherEachTime.calls += 1
        return OtherEachTime(shape, size + OtherEachTime.calls % 7, experts, top_k)


@caught_by("budget_is_met", "meta device")
class ComplexWeightsThatGrow(Good):
    def build(self, shape, size, *, experts=4, top_k=2):
        layer = super().build(shape, size, experts=experts, top_k=top_k)
        if not layer.gate.is_meta:
            layer.phase = torch.nn.Parameter(torch.zeros(8, 8, dtype=torch.complex64))
        return layer
