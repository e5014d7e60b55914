"""MMoE: all targets share the experts, and each weighs them by a gate of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from moebench.contract import Context, Layer, LayerShape, Routing, Variant
from moevariants.parts.experts import Experts
from moevariants.parts.settings import whole
from moevariants.parts.views import (
    as_slot,
    drawn,
    for_views,
    gate_logits,
    hidden_units,
    mixed,
    outputs,
    real,
    view_names,
)


class MMoE(Variant):
    """Multi-gate mixture of experts (Ma et al., KDD 2018, equations 6 and 7).

    y_v = sum over e of softmax(W_v x)_e f_e(x) for each view v: every expert works once on a token, for all views. In a
    slot without views there is one gate. Settings: ``experts`` E. Size is the hidden width of one expert. Mass: the
    gates' mean over views, T in all.
    """

    name = "mmoe"
    revision = "mmoe_1"
    paper = "https://doi.org/10.1145/3219819.3220007"
    causal = True
    separable = True
    mass = "exact"
    single_expert = "dense"
    token_equivariant = True
    tune = {"experts": (8, 4, 16)}

    def build(self, shape: LayerShape, size: int, *, experts: int = 8) -> Layer:
        """One layer of E experts of hidden width ``size``."""
        return MMoELayer(shape, Experts(whole(self, "experts", experts), shape, size))


class MMoELayer(Layer):
    """One bank of experts, a gate for each view."""

    def __init__(self, shape: LayerShape, experts: Experts) -> None:
        super().__init__()
        self.shape, self.experts = shape, experts
        self.gate_VDE = drawn(len(view_names(shape)), shape.dim, experts.count)

    def route(self, x_BTD: Tensor, context: Context) -> Routing:
        """The gates' softmax."""
        x_BVTD = for_views(x_BTD, len(self.gate_VDE))
        return Routing.by_view(real(gate_logits(x_BVTD, self.gate_VDE).softmax(3), context))

    def compute(self, x_BTD: Tensor, routing: Routing, keep_BE: Tensor | None = None) -> Tensor:
        """The experts once, then each view's sum."""
        assert routing.combine_BVTE is not None
        out_BETO = outputs(self.experts, x_BTD.unsqueeze(1), keep_BE)
        return as_slot(mixed(routing.combine_BVTE, out_BETO), self.shape)

    def hidden_units(self, x_BTD: Tensor, routing: Routing) -> Sequence[Tensor]:
        """Of the one bank."""
        return [hidden_units(self.experts, x_BTD.unsqueeze(1))]

    def view_parameters(self) -> Mapping[str, int]:
        """The gates."""
        return {"gate_VDE": 0}
