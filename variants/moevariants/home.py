"""HoME: experts of all targets, of a category of targets and of each target, in two levels."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moebench.contract import Context, Layer, LayerShape, Routing, Variant
from moevariants.parts.experts import Experts
from moevariants.parts.settings import switch, whole
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

MAPS = 2
"""Low-rank maps that a feature gate mixes."""


class HoME(Variant):
    """Hierarchy of multi-gate experts (Wang et al., arXiv 2408.05430).

    Expert: silu(LayerNorm(MLP(x))), where the paper has BatchNorm, whose statistics would tie the inputs of a batch.
    First level: experts of each category and shared ones; category c gets z_c = sum of softmax(gate_c(x)) f over its
    own and the shared experts, and the shared ones of the next level z_s over shared experts alone. Second level:
    experts of each target and each category, which read z_c, and shared ones, which read z_s; a target's gate reads z_c
    and z_s side by side and chooses among its own, its category's and the shared experts. No target sees an expert of
    another category. A view ``delay/arrival`` is of the category ``delay``; views without a slash are one category.

    The three parts, each a switch. ``hierarchy``; without it one level: a target's own experts and shared ones, all on
    x. ``feature_gates``: each group of experts reads v * (sum over i of softmax(v G)_i 2 sigmoid(v A_i B_i)), two maps
    of low ``rank``. ``self_gates``: what a category or target has of its own experts is added once more, weighted by a
    softmax over them alone, or by a sigmoid where there is one.

    Settings beside: ``experts`` n of each group; ``rank``. Size is the hidden width of an expert. Experts are numbered
    by level; in each by target, category, shared. Gates of the second level follow the experts of the first, which work
    in ``route``; under a mask, weights stay those of the full layer. Mass: the weight of all ways from an expert to a
    view, the mean over views.
    """

    name = "home"
    revision = "home_1"
    paper = "https://arxiv.org/abs/2408.05430"
    causal = True
    token_equivariant = True
    tune = {"experts": (2, 1)}

    def build(
        self,
        shape: LayerShape,
        size: int,
        *,
        experts: int = 2,
        hierarchy: bool = True,
        feature_gates: bool = True,
        self_gates: bool = True,
        rank: int = 2,
    ) -> Layer:
        """One layer of groups of n experts of hidden width ``size``."""
        maps_rank = whole(self, "rank", rank) if switch(self, "feature_gates", feature_gates) else 0
        each = Parts(whole(self, "experts", experts), maps_rank, switch(self, "self_gates", self_gates))
        return HoMELayer(shape, size, each, hierarchy=switch(self, "hierarchy", hierarchy))


class Parts(NamedTuple):
    """experts: of a group. rank: of feature gates, 0 without. self_gates: whether there are any."""

    experts: int
    rank: int
    self_gates: bool


class FeatureGate(nn.Module):
    """A gated copy of each group's input: v * (mix of 2 sigmoid(v A_i B_i)), 1 on average at the start."""

    def __init__(self, groups: int, dim: int, rank: int) -> None:
        super().__init__()
        self.mix_GDi = drawn(groups, dim, MAPS)
        self.down_GDr = drawn(groups, dim, MAPS * rank)
        self.up_GirD = drawn(groups, MAPS, rank, dim)

    def forward(self, x_BGTD: Tensor) -> Tensor:
        """The groups' gated inputs."""
        low_BGTir = gate_logits(x_BGTD, self.down_GDr).view(*x_BGTD.shape[:3], MAPS, -1)
        maps_BGTiD = 2 * torch.einsum("bgtir,gird->bgtid", low_BGTir, self.up_GirD.to(low_BGTir.dtype)).sigmoid()
        share_BGTi = gate_logits(x_BGTD, self.mix_GDi).softmax(3)
        return x_BGTD * (share_BGTi.unsqueeze(4) * maps_BGTiD).sum(3)


class HoMELevel(nn.Module):
    """Groups of n experts, each with one input, and gates of as many groups each; the last group is of shared experts.

    gated_Vg: for each gate the groups that it chooses among, the first being its own. gate_dim: what a gate reads.
    shared_gate: whether there is one more gate, over the shared experts alone.
    """

    index_Vn: Tensor
    own_Vn: Tensor
    shared_1n: Tensor

    def __init__(
        self, shape: LayerShape, size: int, gated_Vg: list[list[int]], gate_dim: int, parts: Parts, *, shared_gate: bool
    ) -> None:
        super().__init__()
        groups, each = 1 + max(map(max, gated_Vg)), parts.experts
        self.groups, self.each = groups, each
        self.experts = Experts(groups * each, shape, size)
        self.scale_EO = nn.Parameter(torch.ones(groups * each, shape.out_dim))
        self.shift_EO = nn.Parameter(torch.zeros(groups * each, shape.out_dim))
        self.features = FeatureGate(groups, shape.dim, parts.rank) if parts.rank else nn.Identity()
        index_Vn = torch.tensor([[g * each + i for g in chosen for i in range(each)] for chosen in gated_Vg])
        self.register_buffer("index_Vn", index_Vn, persistent=False)
        self.register_buffer("own_Vn", index_Vn[:, :each].clone(), persistent=False)
        self.register_buffer("shared_1n", torch.arange(groups * each)[None, -each:].clone(), persistent=False)
        self.gate_VFn = drawn(len(gated_Vg), gate_dim, index_Vn.shape[1])
        self.self_VFn = drawn(len(gated_Vg), gate_dim, each) if parts.self_gates else None
        # Over one expert a softmax is 1, whatever the gate is.
        self.shared_gate = shared_gate
        self.shared_1Fn = drawn(1, gate_dim, each) if shared_gate and each > 1 else None

    def weights(self, x_BVTF: Tensor, x_B1TF: Tensor) -> Tensor:
        """weight_BVTE over all experts, of gates that read x_BVTF and of the shared gate, which reads x_B1TF."""
        count = self.experts.count
        weight_BVTE = spread(gate_logits(x_BVTF, self.gate_VFn).softmax(3), self.index_Vn, count)
        if self.self_VFn is not None:
            logits_BVTn = gate_logits(x_BVTF, self.self_VFn)
            own_BVTn = logits_BVTn.sigmoid() if logits_BVTn.shape[3] == 1 else logits_BVTn.softmax(3)
            weight_BVTE = weight_BVTE + spread(own_BVTn, self.own_Vn, count)
        if not self.shared_gate:
            return weight_BVTE
        if self.shared_1Fn is None:
            shared_B1Tn = weight_BVTE.new_ones(*x_B1TF.shape[:3], 1)
        else:
            shared_B1Tn = gate_logits(x_B1TF, self.shared_1Fn).softmax(3)
        return torch.cat([weight_BVTE, spread(shared_B1Tn, self.shared_1n, count)], 1)

    def mix(self, x_BGTD: Tensor, weight_BVTE: Tensor, keep_BE: Tensor | None = None) -> Tensor:
        """y_BVTO: each gate's sum over the experts, which work once."""
        return mixed(weight_BVTE, self.activated(x_BGTD, keep_BE))

    def activated(self, x_BGTD: Tensor, keep_BE: Tensor | None = None) -> Tensor:
        """out_BETO: silu of the normalised MLP of each group's input; 0 of experts that are not kept."""
        out_BETO = outputs(self.experts, self.features(x_BGTD), keep_BE)
        scale_E1O, shift_E1O = self.scale_EO.unsqueeze(1), self.shift_EO.unsqueeze(1)
        acted_BETO = F.silu(F.layer_norm(out_BETO, out_BETO.shape[3:]) * scale_E1O + shift_E1O).to(out_BETO.dtype)
        return acted_BETO if keep_BE is None else acted_BETO.where(keep_BE[:, :, None, None], 0)


class HoMELayer(Layer):
    """One level or two; ``state`` of its routing: the weights of each level, and the outputs of the first."""

    def __init__(self, shape: LayerShape, size: int, parts: Parts, *, hierarchy: bool) -> None:
        super().__init__()
        self.shape = shape
        of_views = [name.rpartition("/")[0] for name in view_names(shape)]
        categories = list(dict.fromkeys(of_views))
        self.category = [categories.index(each) for each in of_views]
        views, count = len(of_views), len(categories)
        if hierarchy:
            between = dataclasses.replace(shape, out_dim=shape.dim)
            below = [[c, count] for c in range(count)]
            above = [[v, views + c, views + count] for v, c in enumerate(self.category)]
            levels = [
                HoMELevel(between, size, below, shape.dim, parts, shared_gate=True),
                HoMELevel(shape, size, above, 2 * shape.dim, parts, shared_gate=False),
            ]
        else:
            alone = [[v, views] for v in range(views)]
            levels = [HoMELevel(shape, size, alone, shape.dim, parts, shared_gate=False)]
        self.levels = nn.ModuleList(levels)
        self.num_experts = sum(level.experts.count for level in levels)
        self.gates_read_experts = hierarchy

    def route(self, x_BTD: Tensor, context: Context) -> Routing:
        """All weights; of two levels the first one's work, on which the second's gates depend."""
        first, *rest = self._levels()
        x_B1TD = x_BTD.unsqueeze(1)
        below_BcTE = first.weights(for_views(x_BTD, len(first.gate_VFn)), x_B1TD)
        if not rest:
            return Routing.by_view(real(below_BcTE, context), state=((below_BcTE,), None))
        z_BcTD = self._below(x_BTD, below_BcTE)
        own_BVTD, shared_B1TD = z_BcTD[:, self.category], z_BcTD[:, -1:]
        read_BVTF = torch.cat([own_BVTD, shared_B1TD.expand_as(own_BVTD)], 3)
        above_BVTE = rest[0].weights(read_BVTF, shared_B1TD)
        ways_BVTE = real(self._ways(below_BcTE, above_BVTE), context)
        return Routing.by_view(ways_BVTE, state=((below_BcTE, above_BVTE), z_BcTD))

    def compute(self, x_BTD: Tensor, routing: Routing, keep_BE: Tensor | None = None) -> Tensor:
        """The last level's work; under a mask that of both, with the weights of the full layer."""
        weights, z_BcTD = routing.state
        levels = self._levels()
        keeps = [None] * 2 if keep_BE is None else torch.split(keep_BE, [each.experts.count for each in levels], 1)
        if z_BcTD is None:
            return as_slot(levels[0].mix(self._alike(x_BTD, levels[0]), weights[0], keeps[0]), self.shape)
        if keep_BE is not None:
            z_BcTD = self._below(x_BTD, weights[0], keeps[0])
        return as_slot(levels[1].mix(self._read(z_BcTD), weights[1], keeps[1]), self.shape)

    def expert_parameters(self) -> Mapping[str, int]:
        """MLPs and norms; the feature gates are of groups."""
        endings = (".scale_EO", ".shift_EO")
        return {name: 0 for name, _ in self.named_parameters() if ".experts." in name or name.endswith(endings)}

    def experts_held(self, name: str) -> range:
        """Those of the parameter's level."""
        place, counts = int(name.split(".")[1]), [level.experts.count for level in self._levels()]
        return range(sum(counts[:place]), sum(counts[: place + 1]))

    def hidden_units(self, x_BTD: Tensor, routing: Routing) -> Sequence[Tensor]:
        """Of the bank of each level, before the norm."""
        first, *rest = self._levels()
        found = [hidden_units(first.experts, first.features(self._alike(x_BTD, first)))]
        if rest:
            read_BGTD = self._read(routing.state[1])
            found.append(hidden_units(rest[0].experts, rest[0].features(read_BGTD)))
        return found

    def view_parameters(self) -> Mapping[str, int]:
        """The targets' gates, which are those of the last level."""
        last, level = len(self.levels) - 1, self._levels()[-1]
        return {f"levels.{last}.{name}": 0 for name in ("gate_VFn", "self_VFn") if getattr(level, name) is not None}

    def _below(self, x_BTD: Tensor, weight_BcTE: Tensor, keep_BE: Tensor | None = None) -> Tensor:
        """z_BcTD: of each category, then of the shared experts."""
        first = self._levels()[0]
        return first.mix(self._alike(x_BTD, first), weight_BcTE, keep_BE)

    def _read(self, z_BcTD: Tensor) -> Tensor:
        """The input of each group of the second level: targets and categories read z of the category."""
        return torch.cat([z_BcTD[:, self.category], z_BcTD], 1)

    def _alike(self, x_BTD: Tensor, level: HoMELevel) -> Tensor:
        """The same input for every group."""
        return for_views(x_BTD, level.groups)

    def _ways(self, below_BcTE: Tensor, above_BVTE: Tensor) -> Tensor:
        """weight_BVTE over the experts of both levels: through what reads the category, and what reads the shared."""
        shared = self._levels()[1].each
        through_shared_BVT1 = above_BVTE[..., -shared:].sum(3, keepdim=True)
        through_own_BVT1 = above_BVTE[..., :-shared].sum(3, keepdim=True)
        ways_BVTE = through_own_BVT1 * below_BcTE[:, self.category] + through_shared_BVT1 * below_BcTE[:, -1:]
        return torch.cat([ways_BVTE, above_BVTE], 3)

    def _levels(self) -> list[HoMELevel]:
        return [level for level in self.levels if isinstance(level, HoMELevel)]
