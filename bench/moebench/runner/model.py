"""A cell's model, built under its budget, with the counts that its record shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cloudpickle
import numpy as np
import torch

from moebench.budgets import AXES, Budget, check_rules, count_layers, dense_flops, flops_bounds, solve
from moebench.budgets.count import experts_per_token
from moebench.budgets.flops import choice_flops
from moebench.contract import Variant
from moebench.errors import BudgetError, PluginError
from moebench.hosts import host_settings, layer_shapes
from moebench.hosts.build import build_model, host_flops
from moebench.hosts.host import Host
from moebench.plans.plan import SHARED
from moebench.plugins.backends import choose_backend
from moebench.plugins.find import find_variant
from moebench.plugins.identity import code_identity
from moebench.plugins.load import load_variant
from moebench.records import Store
from moebench.runner.flops import kept_flops
from moebench.runner.job import Job
from moebench.tasks import get_task

FORWARD_AND_BACKWARD = 3
"""FLOPs of a training step over those of its forward pass: the backward pass has two products for each of it."""


@dataclass(frozen=True)
class BuiltModel:
    """A model on its device, and what was counted before it went there."""

    model: Host
    counts: dict[str, Any]
    choice_flops: tuple[float | None, ...] = ()
    """What one choice of one token costs in each layer whose number of experts per token settles in training."""

    def training_flops_between(self, inputs: int) -> tuple[int, int]:
        """The least and the most that :meth:`count_choices` may find: no expert acts, or all do for every token."""
        low = high = int(self.counts["training_flops"])
        for layer, cost in enumerate(self.choice_flops):
            if cost is not None:
                each = FORWARD_AND_BACKWARD * cost * self.counts["layers"][layer]["tokens"] * inputs
                nominal, experts = self.counts["experts_per_token"][layer], self.counts["experts"][layer]
                low, high = low - round(each * nominal), high + round(each * (experts - nominal))
        return low, high

    def count_choices(self, acted_SL: np.ndarray, inputs: int) -> None:
        """Correct the FLOPs of training by the choices that the tokens of all its ``inputs`` made."""
        nominal, shapes = self.counts["experts_per_token"], self.counts["layers"]
        for layer, cost in enumerate(self.choice_flops):
            if cost is not None:
                choices = nominal[layer] * shapes[layer]["tokens"] * inputs
                more = float(acted_SL[:, layer].sum(dtype=np.float64)) - choices
                self.counts["training_flops"] += round(FORWARD_AND_BACKWARD * cost * more)


def variant_of(job: Job) -> Variant:
    """The job's variant; refused if its code is not that of the cell."""
    if job.pickled is not None:
        variant: Variant = cloudpickle.loads(job.pickled)
        return variant
    found = find_variant(job.spec)
    if code_identity(found) != job.cell.code_digest:
        raise PluginError(
            f"{job.spec}: its code changed after the suite was planned; run the suite again.",
            code="code-changed",
            spec=job.spec,
        )
    return load_variant(found)


def build(job: Job, device: torch.device, store: Store | None = None) -> BuiltModel:
    """Solve the budget, build from the cell's seed, count, check the rules if the row is ranked, move to the device.

    store: where the FLOPs of layers are kept that were counted before; without one they are counted here.
    """
    cell, variant = job.cell, variant_of(job)
    host, info = host_settings(cell.host), get_task(cell.task).info
    settings = {name: value for name, value in cell.settings.items() if name not in SHARED}
    shapes = layer_shapes(host, info)
    assert cell.axis in AXES
    solution = solve(variant, Budget(cell.axis, cell.budget, shapes), settings)
    model = build_model(host, info, variant, solution.sizes, settings, cell.seed)
    layers = model.layers()
    counted = count_layers(layers)
    if counted != solution.counts:
        raise BudgetError(
            f"{variant.name} builds {counted.total:,} parameters where it was counted with {solution.counts.total:,}.",
            code="unsteady-size",
            variant=variant.name,
        )
    kept = store.flops_folder if store else None
    flops = kept_flops(kept, cell.code_digest, variant, shapes, solution.sizes, settings)
    bounds = flops_bounds(layers, shapes, causal=variant.causal)
    experts = max(layer.num_experts for layer in layers)
    broken = check_rules(cell.axis, shapes, counted, flops, experts=experts, bounds=bounds)
    if broken and job.ranked:
        raise BudgetError(f"{variant.name}: {broken}", code="rules-broken", variant=variant.name, rules=broken)
    whole = flops + host_flops(model, info)
    counts = {
        "sizes": list(solution.sizes),
        **{f"{name}_params": getattr(counted, name) for name in ("total", "active", "trainable")},
        "float_buffers": counted.float_buffers,
        "experts": [layer.num_experts for layer in layers],
        "experts_per_token": [float(experts_per_token(layer)) for layer in layers],
        "model_params": sum(p.numel() for p in model.parameters()),
        "flops_per_input": flops,
        "model_flops_per_input": whole,
        "training_flops": FORWARD_AND_BACKWARD * whole * cell.batch * cell.steps,
        "dense_flops_per_input": dense_flops(shapes, counted.total),
        "budget_error": solution.amount / cell.budget - 1,
        "layers": [shape.to_json() for shape in shapes],
    }
    of_choices = tuple(
        choice_flops(layer, shape) if layer.number_settles and shape.tokens else None
        for layer, shape in zip(layers, shapes, strict=True)
    )
    if job.backend:
        choose_backend(model, job.backend)
    return BuiltModel(model.to(device), counts, of_choices)
