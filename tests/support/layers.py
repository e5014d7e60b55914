"""Variants that are like dense but for one thing, and slots to put them into."""

import torch
from torch import nn

from moebench.contract import Layer, LayerShape, Routing
from moevariants.dense import Dense, DenseLayer


def slots(count=1, *, dim=64, out_dim=None, tokens=16, bias=True):
    return tuple(
        LayerShape(dim=dim, out_dim=out_dim or dim, tokens=tokens, bias=bias, index=index, depth=count)
        for index in range(count)
    )


class Like(Dense):
    """Dense, with ``change(layer, shape, size)`` applied to what it builds."""

    def __init__(self, change, name="mine"):
        self.change, self.name = change, name

    def build(self, shape: LayerShape, size: int) -> Layer:
        layer = DenseLayer(shape, size)
        return self.change(layer, shape, size) or layer


class Repeated(Layer):
    """Passes its tokens ``times`` times through the same weights."""

    def __init__(self, inner, times):
        super().__init__()
        self.inner, self.times = inner, times

    def route(self, x_BTD, context):
        return Routing()

    def compute(self, x_BTD, routing, keep_BE=None):
        for _ in range(self.times):
            x_BTD = self.inner(x_BTD)
        return x_BTD


def repeated(times, passes=1):
    def make(layer, shape, size):
        made = Repeated(layer, times)
        made.passes = passes
        return made

    return Like(make)


def with_buffer(elements, dtype=torch.float32):
    return Like(lambda layer, shape, size: layer.register_buffer("hidden", torch.zeros(elements, dtype=dtype)))


class Fixed(Dense):
    """The same layer whatever the size."""

    name = "fixed"

    def build(self, shape, size):
        return DenseLayer(shape, 5)


class InSteps(Dense):
    """Its width is the size, rounded up to a multiple of 16."""

    name = "in_steps"

    def build(self, shape, size):
        return DenseLayer(shape, -(-size // 16) * 16)


class Seeding(Dense):
    """Draws and seeds where it must not."""

    name = "seeding"

    def build(self, shape, size):
        torch.manual_seed(42)
        torch.rand(3, device="cpu")
        return DenseLayer(shape, size)


class Dropping(Layer):
    """Has a part that was put into eval on purpose, and draws random numbers in every mode."""

    def __init__(self, shape):
        super().__init__()
        self.linear = nn.Linear(shape.dim, shape.out_dim)
        self.norm = nn.LayerNorm(shape.dim).eval()

    def route(self, x_BTD, context):
        return Routing()

    def compute(self, x_BTD, routing, keep_BE=None):
        return self.linear(self.norm(x_BTD)) * torch.rand(())


class Curved(Dense):
    """Its width is a power of its size."""

    name = "curved"

    def __init__(self, power):
        self.power = power

    def build(self, shape, size):
        return DenseLayer(shape, max(1, int(size**self.power)))


class Cliff(Dense):
    """Its width is its size, and from 3,000 on a thousand times that."""

    name = "cliff"

    def build(self, shape, size):
        return DenseLayer(shape, size if size < 3_000 else 1_000 * size)
