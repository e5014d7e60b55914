"""``python -m moestudies.theorem``: untrained models of the norm task on their pairs, over E, P, both routers, with and
without a residual, one by one; then the summary in docs/paper.md.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from moebench.contract import Layer, LayerShape
from moebench.plugins.find import find_variant
from moebench.plugins.load import load_variant
from moestudies.theorem.gap import SCALES, Gaps, measure
from moestudies.theorem.pairs import Array, pairs, router_weights

EXPERTS = (1, 2, 5, 10, 64)
SLOTS = (1, 2)
ROUTERS = ("plain", "l2")
TOKENISED = ((5, 2), (2, 5))
"""T and D of arXiv 2409.00879, appendix C: ten numbers as tokens."""

QUOTED = 100.0
"""The scale at which the summary is taken."""

HEADER = "T D  router   E P  residual  norms differ  allowance  outputs differ  their sums  sums wrong from a ="
SUMMARY = "T D  router  residual  norms differ  allowance  outputs differ by up to  no 1-Lipschitz g from a ="


@dataclass(frozen=True)
class Curve:
    """One untrained model. residual: whether x is added to the layer's output.

    outputs: of what g sees, y or x + y, as a vector. sums: of its sum, the task's g.
    """

    tokens: int
    dim: int
    experts: int
    slots: int
    router: str
    residual: bool
    outputs: Gaps
    sums: Gaps


class LayerOutput(nn.Module):
    """x_BTD -> y_BTD, or x + y: what follows the layer in a network."""

    def __init__(self, layer: Layer, residual: bool) -> None:
        super().__init__()
        self.layer, self.residual = layer, residual

    def forward(self, x_BTD: Tensor) -> Tensor:  # noqa: D102
        y_BTD: Tensor = self.layer(x_BTD)
        return x_BTD + y_BTD if self.residual else y_BTD


def untrained_curves(*, bias: bool = False, scale_N: Array | None = None) -> tuple[Curve, ...]:
    """Every E, P, router, with and without residual, for each (T, D); experts as the norm task has them.

    An expert is D -> 10 D / E -> D with ReLU, of at least one hidden unit.
    """
    variant = load_variant(find_variant("soft_moe"))
    scale_N = np.array(SCALES) if scale_N is None else scale_N
    curves = []
    for (tokens, dim), experts, slots, router in itertools.product(TOKENISED, EXPERTS, SLOTS, ROUTERS):
        shape = LayerShape(dim=dim, out_dim=dim, tokens=tokens, activation="relu", bias=bias)
        settings = {"experts": experts, "slots": slots, "normalise": router == "l2"}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            layer = variant.layer(shape, max(1, 10 * dim // experts), settings)
        family = pairs(router_weights(layer), tokens)
        for residual in (False, True):
            model = LayerOutput(layer, residual)
            outputs = measure(model, family, scale_N)
            sums = measure(model, family, scale_N, lambda model, x_BTD: model(x_BTD).sum((1, 2)))
            curves.append(Curve(tokens, dim, experts, slots, router, residual, outputs, sums))
    return tuple(curves)


def line(curve: Curve) -> str:
    """One model at the largest scale, and the scale from which on the sum of its outputs is beyond the limits."""
    outputs, sums = curve.outputs, curve.sums
    return (
        f"{curve.tokens} {curve.dim}  {curve.router:6s} {curve.experts:3d} {curve.slots}  {_yes(curve.residual):8s} "
        f"{outputs.norm_N[-1]:13.0f} {outputs.allowance_N[-1]:10.0f} {outputs.output_N[-1]:15.1e} "
        f"{sums.output_N[-1]:11.1e}  {_scale(sums.breaks_from)}"
    )


def summary(curves: Sequence[Curve]) -> list[str]:
    """One line for all E and P of a (T, D), router and residual: the largest difference at scale 100."""
    groups = itertools.groupby(sorted(curves, key=_kind), _kind)
    return [_summary_line([*group]) for _, group in groups]


def _kind(curve: Curve) -> tuple[int, int, bool, bool]:
    return -curve.tokens, curve.dim, curve.router == "l2", curve.residual


def _summary_line(group: Sequence[Curve]) -> str:
    first, at = group[0], int(np.abs(group[0].outputs.scale_N - QUOTED).argmin())
    differ = max(curve.outputs.output_N[at] for curve in group)
    limits = sorted((curve.outputs.breaks_from for curve in group), key=lambda a: np.inf if a is None else a)
    return (
        f"{first.tokens} {first.dim}  {first.router:6s}  {_yes(first.residual):8s}  {first.outputs.norm_N[at]:12.1f}  "
        f"{first.outputs.allowance_N[at]:9.1f}  {differ:23.1e}  "
        f"{_scale(limits[0])} ... {_scale(limits[-1])}"
    )


def _yes(fact: bool) -> str:
    return "yes" if fact else "no"


def _scale(a: float | None) -> str:
    return "never" if a is None else f"{a:.2g}"


if __name__ == "__main__":
    measured = untrained_curves()
    scale = measured[0].sums.scale_N[-1]
    print(f"Untrained, experts without biases, at scale a = {scale:,.0f}", HEADER, *map(line, measured), sep="\n")
    print(f"\nAll E and P together, at scale a = {QUOTED:,.0f}", SUMMARY, *summary(measured), sep="\n")
