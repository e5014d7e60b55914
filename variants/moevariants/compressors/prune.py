"""Experts are left out, and the router chooses among those that stay."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from moebench.contract import Settings
from moebench.contract.variant import refuse_unknown
from moebench.measures.compression import Met
from moevariants.compressors.reduced import ReducedLayer, bank_of, reducible
from moevariants.parts.dispatch import plan_dispatch, take_rows
from moevariants.parts.experts import choices


class PruneReap:
    """REAP (Lasby et al., arXiv 2510.13999): the experts of largest saliency stay.

    Saliency is the mean, over the tokens that chose an expert, of router weight times the norm of what it answered.
    """

    name = "prune_reap"
    revision = "1bc9068bf2c76a8f3337"

    def compress(self, met: Met, keep: int, settings: Settings, generator: Generator) -> ReducedLayer:
        """A layer of ``keep`` experts."""
        refuse_unknown(self.name, settings, ())
        return best(met, saliency(met), keep)


class PruneUsage:
    """The experts that were chosen most stay."""

    name = "prune_usage"
    revision = "1bc9068bf2c76a8f3337"

    def compress(self, met: Met, keep: int, settings: Settings, generator: Generator) -> ReducedLayer:
        """A layer of ``keep`` experts."""
        refuse_unknown(self.name, settings, ())
        return best(met, met.usage_E, keep)


class PruneRandom:
    """Any experts stay."""

    name = "prune_random"
    revision = "1bc9068bf2c76a8f3337"

    def compress(self, met: Met, keep: int, settings: Settings, generator: Generator) -> ReducedLayer:
        """A layer of ``keep`` experts."""
        refuse_unknown(self.name, settings, ())
        return best(met, torch.rand(met.layer.num_experts, generator=generator).to(met.x_BTD.device), keep)


@torch.no_grad()
def saliency(met: Met) -> Tensor:
    """saliency_E, in float64; 0 for an expert that nobody chose."""
    _, experts = reducible(met.layer)
    chosen_BTK, weight_BTK, kept_BTK = choices(met.routing)
    chosen_NK, kept_NK = chosen_BTK.flatten(0, 1), None if kept_BTK is None else kept_BTK.flatten(0, 1)
    dispatch = plan_dispatch(chosen_NK, experts.count, kept_NK, cut=True)
    rows_MO = experts.forward_rows(take_rows(met.x_BTD.flatten(0, 1), dispatch), dispatch.counts_E)
    weight_M = weight_BTK.flatten()[dispatch.order_M].double()
    expert_M = chosen_NK.flatten()[dispatch.order_M]
    none_E = torch.zeros(experts.count, dtype=torch.float64, device=weight_M.device)
    total_E = none_E.index_add(0, expert_M, weight_M * rows_MO.double().norm(dim=1))
    return total_E / dispatch.counts_E.clamp_min(1)


@torch.no_grad()
def best(met: Met, score_E: Tensor, keep: int) -> ReducedLayer:
    """The layer with the ``keep`` experts of largest score; of equal ones the lower index."""
    layer, experts = reducible(met.layer)
    kept_G = score_E.argsort(descending=True, stable=True)[:keep].sort().values
    open_E = torch.zeros(experts.count, dtype=torch.bool, device=kept_G.device).index_fill(0, kept_G, True)
    # A closed expert is never asked for; any place stands for it.
    expert_of_E = (open_E.cumsum(0) - 1).clamp_min(0)
    bank = bank_of(experts, [None if stack is None else stack[kept_G] for stack in experts.stacks])
    return ReducedLayer(layer, bank, expert_of_E, open_E)
