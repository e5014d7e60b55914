"""The dense MLP: the row every other row is compared with."""

from __future__ import annotations

from torch import Tensor, nn

from moebench.contract import Context, Layer, LayerShape, Routing, Variant
from moevariants.parts import onednn


class Dense(Variant):
    """Linear, the host's activation, Linear: y_BTO = act(x_BTD W_in + b_in) W_out + b_out.

    Size is the hidden width. No experts, hence no mass and nothing to mask; one token at a time, hence causal
    and token-equivariant. No settings of its own.
    """

    name = "dense"
    revision = "b41d469093277d371096"
    causal = True
    single_expert = "dense"
    token_equivariant = True

    def build(self, shape: LayerShape, size: int) -> Layer:
        """One MLP of hidden width ``size``."""
        return DenseLayer(shape, size)


class DenseLayer(Layer):
    """The MLP as a layer whose routing decides nothing."""

    def __init__(self, shape: LayerShape, hidden: int) -> None:
        super().__init__()
        if hidden < 1:
            raise ValueError(f"dense: the hidden width must be at least 1, not {hidden}")
        self.shape = shape
        self.linear_in = nn.Linear(shape.dim, shape.units(hidden), bias=shape.bias)
        self.linear_out = nn.Linear(hidden, shape.out_dim, bias=shape.bias)

    def route(self, x_BTD: Tensor, context: Context) -> Routing:
        """There is nothing to decide."""
        return Routing()

    def compute(self, x_BTD: Tensor, routing: Routing, keep_BE: Tensor | None = None) -> Tensor:
        """The MLP, token by token, padding included."""
        if keep_BE is not None:
            raise ValueError("dense has no experts to keep")
        hidden_BTH = self.shape.activate(onednn.matmul(x_BTD, self.linear_in.weight.t(), self.linear_in.bias))
        return onednn.matmul(hidden_BTH, self.linear_out.weight.t(), self.linear_out.bias)
