"""Variants, given as objects, that do not come back: from build(), or only once they are checked."""

import time

from torch import nn

from moebench.contract import Layer, Routing, Variant


class Slow(Variant):
    name = "slow"

    def build(self, shape, size):
        time.sleep(1000)


class SlowToAnswer(Variant):
    """Plans and trains as any, and never answers seven tokens, which its checks ask it."""

    name = "slow_to_answer"

    def build(self, shape, size):
        return _Answer(shape, size)


class _Answer(Layer):
    def __init__(self, shape, hidden):
        super().__init__()
        self.a, self.b = nn.Linear(shape.dim, hidden), nn.Linear(hidden, shape.out_dim)

    def route(self, x_BTD, context):
        return Routing()

    def compute(self, x_BTD, routing, keep_BE=None):
        if x_BTD.shape[1] == 7:
            time.sleep(1000)
        return self.b(self.a(x_BTD).relu())
