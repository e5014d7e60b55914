"""PLE: experts of each target beside shared ones, in one level (CGC) or two."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

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
    spread,
    view_names,
)

LEVELS = 2


class PLE(Variant):
    """Progressive layered extraction (Tang et al., RecSys 2020); with one level, customised gate control.

    A view's gate is a softmax over its own and the shared experts: y_v = sum of softmax(W_v z_v)_e f_e. In the first of
    two levels z is the layer's input, and a further gate over all experts gives the shared experts of the second level
    their input; a view's own experts, and its gate, read what the view got from the first level. So the gates of the
    second level follow the experts of the first, which work in ``route``; under a mask, weights stay those of the full
    layer. In a slot without views there is one.

    Settings: ``own``, experts of each view; ``shared``; ``levels``, 1 or 2. Size is the hidden width of an expert. In
    each level experts are numbered view by view, then the shared ones. Mass: the weight of all ways from an expert to a
    view, the mean over views: T for each level.
    """

    name = "ple"
    revision = "ple_1"
    paper = "https://doi.org/10.1145/3383313.3412236"
    causal = True
    token_equivariant = True
    tune = {"own": (2, 1, 4), "shared": (2, 1, 4), "levels": (1, 2)}

    def build(self, shape: LayerShape, size: int, *, own: int = 2, shared: int = 2, levels: int = 1) -> Layer:
        """One layer of one or two levels of experts of hidden width ``size``."""
        whole(self, "levels", levels, LEVELS)
        return PLELayer(shape, size, whole(self, "own", own), whole(self, "shared", shared), levels)


class PLELevel(nn.Module):
    """Experts and gates of one level. Inputs and outputs: one for each view, then that of the shared experts.

    shared_gate: whether the level also gives an output for the next one's shared experts.
    """

    index_Vn: Tensor

    def __init__(self, shape: LayerShape, size: int, own: int, shared: int, *, shared_gate: bool) -> None:
        super().__init__()
        views = len(view_names(shape))
        self.own = Experts(views * own, shape, size)
        self.shared = Experts(shared, shape, size)
        self.count = self.own.count + shared
        self.gate_VDn = drawn(views, shape.dim, own + shared)
        self.shared_gate_1DE = drawn(1, shape.dim, self.count) if shared_gate else None
        of_shared = range(self.own.count, self.count)
        index = [[*range(view * own, (view + 1) * own), *of_shared] for view in range(views)]
        self.register_buffer("index_Vn", torch.tensor(index), persistent=False)

    def weights(self, z_BUTD: Tensor) -> Tensor:
        """weight_BUTE over all experts, of gates that read z of each view and then z of the shared experts (U = V + 1);
        without a shared gate weight_BVTE.
        """
        weight_BVTn = gate_logits(z_BUTD[:, :-1], self.gate_VDn).softmax(3)
        weight_BVTE = spread(weight_BVTn, self.index_Vn, self.count)
        if self.shared_gate_1DE is None:
            return weight_BVTE
        return torch.cat([weight_BVTE, gate_logits(z_BUTD[:, -1:], self.shared_gate_1DE).softmax(3)], 1)

    def mix(self, z_BUTD: Tensor, weight_BUTE: Tensor, keep_BE: Tensor | None = None) -> Tensor:
        """y_BUTO: each output's sum over the experts, which work once."""
        keep_own, keep_shared = (
            (None, None) if keep_BE is None else torch.split(keep_BE, [self.own.count, self.shared.count], 1)
        )
        of_own = outputs(self.own, z_BUTD[:, :-1], keep_own)
        return mixed(weight_BUTE, torch.cat([of_own, outputs(self.shared, z_BUTD[:, -1:], keep_shared)], 1))


class PLELayer(Layer):
    """Levels of experts; ``state`` of its routing: the weights of each level, and the inputs of the last."""

    def __init__(self, shape: LayerShape, size: int, own: int, shared: int, levels: int) -> None:
        super().__init__()
        between = dataclasses.replace(shape, out_dim=shape.dim)
        self.shape = shape
        self.levels = nn.ModuleList(
            PLELevel(shape if last else between, size, own, shared, shared_gate=not last)
            for last in [False] * (levels - 1) + [True]
        )
        self.num_experts = sum(level.count for level in self._levels())
        self.gates_read_experts = levels > 1

    def route(self, x_BTD: Tensor, context: Context) -> Routing:
        """All weights; of two levels the first one's work, on which the second's gates depend."""
        *below, top = self._levels()
        z_BUTD, weights = for_views(x_BTD, len(top.gate_VDn) + 1), []
        for level in below:
            weights.append(level.weights(z_BUTD))
            z_BUTD = level.mix(z_BUTD, weights[-1])
        weights.append(top.weights(z_BUTD))
        return Routing.by_view(real(self._ways(weights), context), state=(tuple(weights), z_BUTD))

    def compute(self, x_BTD: Tensor, routing: Routing, keep_BE: Tensor | None = None) -> Tensor:
        """The last level's work; under a mask that of all levels, with the weights of the full layer."""
        weights, z_BUTD = routing.state
        *below, top = self._levels()
        keeps = (
            [None] * len(weights)
            if keep_BE is None
            else torch.split(keep_BE, [each.count for each in self._levels()], 1)
        )
        if keep_BE is not None:
            z_BUTD = for_views(x_BTD, len(top.gate_VDn) + 1)
            for level, weight_BUTE, kept_BE in zip(below, weights, keeps, strict=False):
                z_BUTD = level.mix(z_BUTD, weight_BUTE, kept_BE)
        return as_slot(top.mix(z_BUTD, weights[-1], keeps[-1]), self.shape)

    def expert_parameters(self) -> Mapping[str, int]:
        """Those of both banks of each level."""
        return {name: 0 for name, _ in self.named_parameters() if ".own." in name or ".shared." in name}

    def experts_held(self, name: str) -> range:
        """Those of the bank that the parameter is of."""
        _, place, bank, *_ = name.split(".")
        levels = self._levels()
        first = sum(level.count for level in levels[: int(place)])
        own = levels[int(place)].own.count
        return range(first, first + own) if bank == "own" else range(first + own, first + levels[int(place)].count)

    def hidden_units(self, x_BTD: Tensor, routing: Routing) -> Sequence[Tensor]:
        """Of both banks of each level."""
        z_BUTD, found = for_views(x_BTD, len(self._levels()[0].gate_VDn) + 1), []
        for level, weight_BUTE in zip(self._levels(), routing.state[0], strict=True):
            found += [hidden_units(level.own, z_BUTD[:, :-1]), hidden_units(level.shared, z_BUTD[:, -1:])]
            z_BUTD = level.mix(z_BUTD, weight_BUTE)
        return found

    def view_parameters(self) -> Mapping[str, int]:
        """The views' gates."""
        return {f"levels.{place}.gate_VDn": 0 for place in range(len(self.levels))}

    def _ways(self, weights: list[Tensor]) -> Tensor:
        """weight_BVTE over the experts of all levels, through a view's own next experts and shared ones."""
        top_BVTE = weights[-1]
        if len(weights) == 1:
            return top_BVTE
        to_shared_BVT1 = top_BVTE[..., self._levels()[-1].own.count :].sum(3, keepdim=True)
        below_BVTE, shared_B1TE = weights[0][:, :-1], weights[0][:, -1:]
        return torch.cat([(1 - to_shared_BVT1) * below_BVTE + to_shared_BVT1 * shared_B1TE, top_BVTE], 3)

    def _levels(self) -> list[PLELevel]:
        return [level for level in self.levels if isinstance(level, PLELevel)]
