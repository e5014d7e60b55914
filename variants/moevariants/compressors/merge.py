"""Experts that choose alike become one (MC-SMoE: Li et al., arXiv 2310.01334)."""

from __future__ import annotations

import math

import torch
from scipy.optimize import linear_sum_assignment
from torch import Generator, Tensor

from moebench.contract import Settings
from moebench.contract.variant import refuse_unknown
from moebench.measures.compression import Met
from moevariants.compressors.factored import FactoredExperts
from moevariants.compressors.reduced import ReducedLayer, bank_of, reducible
from moevariants.parts.experts import Experts
from moevariants.parts.settings import number, switch, whole, wrong
from moevariants.parts.sparse import SparseLayer


class Merge:
    """M-SMoE, section 3.1: the most used experts stay, each other one joins the one that the router treats most alike.

    Hidden units are first put into the order of the dominant expert's (setting ``align``, true); then the members'
    weights are averaged by their usage. The router stays as it is: whoever chose a member has the merged expert.
    """

    name = "merge"
    revision = "b1f4d5ec7c606f397001"

    def compress(self, met: Met, keep: int, settings: Settings, generator: Generator) -> ReducedLayer:
        """A layer of ``keep`` experts."""
        refuse_unknown(self.name, settings, ("align",))
        bank, group_E = merged(met, keep, align=switch(self, "align", settings.get("align", True)))
        layer, _ = reducible(met.layer)
        return ReducedLayer(layer, bank, group_E)


class MergeCompress:
    """MC-SMoE: merged as by :class:`Merge`, then each weight W becomes U V + S (section 3.2).

    Settings: ``rank`` of U V (a quarter of the smallest side of the weights; the paper's is 32); ``sparse``, the share
    of the hidden units that S holds (0.1). The paper prunes S while it recovers, by gradients; here S is fitted at
    once, so that U V + S is near to W.
    """

    name = "merge_compress"
    revision = "b1f4d5ec7c606f397001"

    def compress(self, met: Met, keep: int, settings: Settings, generator: Generator) -> ReducedLayer:
        """A layer of ``keep`` experts with fewer parameters each."""
        refuse_unknown(self.name, settings, ("align", "rank", "sparse"))
        layer, experts = reducible(met.layer)
        hidden, out_dim = experts.w_out_EHO.shape[1:]
        most = min(experts.shape.dim, hidden, out_dim)
        chosen = settings.get("rank", max(1, most // 4))
        rank = whole(self, "rank", chosen, most, " (the smallest side of its weights)")
        share = number(self, "sparse", settings.get("sparse", 0.1))
        if share > 1:
            raise wrong(self, "sparse", settings["sparse"], "a share from 0 to 1")
        bank, group_E = merged(met, keep, align=switch(self, "align", settings.get("align", True)))
        factored = FactoredExperts(bank, rank, math.ceil(share * hidden - 1e-9))  # 0.07 x 100 is 7.000000000000001
        return ReducedLayer(layer, factored, group_E)


@torch.no_grad()
def merged(met: Met, keep: int, *, align: bool) -> tuple[Experts, Tensor]:
    """The bank of merged experts, and group_E, the one of them that each expert is in."""
    layer, experts = reducible(met.layer)
    dominant_E = dominant_of(layer, met, keep)
    stacks = aligned(experts, dominant_E) if align else list(experts.stacks)
    group_E = torch.unique(dominant_E, return_inverse=True)[1]
    share_GE = shares(met.usage_E, group_E, keep)
    return bank_of(experts, [None if stack is None else _averaged(share_GE, stack) for stack in stacks]), group_E


def shares(usage_E: Tensor, group_E: Tensor, keep: int) -> Tensor:
    """share_GE: the weight of each member in its group, by usage; equal ones where no member was used."""
    in_GE = (group_E == torch.arange(keep, device=group_E.device).unsqueeze(1)).double()
    used_GE = in_GE * usage_E
    used_GE = torch.where(used_GE.sum(1, keepdim=True) > 0, used_GE, in_GE)
    return used_GE / used_GE.sum(1, keepdim=True)


def _averaged(share_GE: Tensor, stack: Tensor) -> Tensor:
    mean: Tensor = torch.tensordot(share_GE, stack.double(), dims=1)
    return mean.to(stack)


@torch.no_grad()
def dominant_of(layer: SparseLayer, met: Met, keep: int) -> Tensor:
    """dominant_E: for each expert the one that it joins, itself for the ``keep`` most used.

    The others join the dominant one whose router logits over the tokens that were met point the same way as theirs, by
    the cosine; of equal ones the lower index.
    """
    usage_E = met.usage_E
    dominant_G = usage_E.argsort(descending=True, stable=True)[:keep].sort().values
    logits_NE = layer.router(met.x_BTD).flatten(0, 1).double()
    unit_NE = logits_NE / logits_NE.norm(dim=0).clamp_min(torch.finfo(torch.float64).tiny)
    nearest_E = dominant_G[(unit_NE.mT @ unit_NE[:, dominant_G]).argmax(1)]
    return nearest_E.scatter(0, dominant_G, dominant_G)


@torch.no_grad()
def aligned(experts: Experts, reference_E: Tensor) -> list[Tensor | None]:
    """w_in, b_in, w_out and b_out with the hidden units of each expert in the order that is nearest its reference's.

    reference_E: the expert that each is compared with. An expert computes the same whatever the order of its units;
    the order taken is the permutation P of largest <W_in_ref, W_in P> + <b_in_ref, b_in P> + <W_out_ref, P^T W_out>, an
    assignment problem that is solved exactly, in float64.
    """
    w_in_EDH, b_in_EH, w_out_EHO, b_out_EO = experts.stacks
    # A hidden unit of a gated MLP has a gate and an up value, which stay together.
    each = w_in_EDH.shape[2] // w_out_EHO.shape[1]
    w_in_EDHe = w_in_EDH.reshape(*w_in_EDH.shape[:2], -1, each)
    b_in_EHe = None if b_in_EH is None else b_in_EH.reshape(len(b_in_EH), -1, each)
    # What goes into a unit and what comes out of it, one row a unit.
    biases = [] if b_in_EHe is None else [b_in_EHe]
    units_EHU = torch.cat([w_in_EDHe.transpose(1, 2).flatten(2), *biases, w_out_EHO], 2).double()
    order_EH = torch.stack([_order(units_EHU[int(r)], units_EHU[e]) for e, r in enumerate(reference_E)])
    return [
        w_in_EDHe.gather(2, order_EH[:, None, :, None].expand_as(w_in_EDHe)).flatten(2),
        None if b_in_EHe is None else b_in_EHe.gather(1, order_EH.unsqueeze(2).expand_as(b_in_EHe)).flatten(1),
        w_out_EHO.gather(1, order_EH.unsqueeze(2).expand_as(w_out_EHO)),
        b_out_EO,
    ]


def _order(reference_HU: Tensor, units_HU: Tensor) -> Tensor:
    """order_H: the unit that takes each place of the reference's."""
    _, order_H = linear_sum_assignment((reference_HU @ units_HU.mT).cpu().numpy(), maximize=True)
    return torch.from_numpy(order_H).to(units_HU.device)
