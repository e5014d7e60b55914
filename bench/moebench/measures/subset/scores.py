"""How much an expert matters to an input: rival scores by name, each computed in one layer during one pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from moebench.contract import Layer, Routing
from moebench.errors import UnknownNameError, UsageError
from moebench.hosts.host import Visit
from moebench.training.evaluate import Evaluation

Score = Callable[[Visit], Tensor]
"""A visit -> score_BE; the experts of largest score are kept."""

PAPERS = "combine_sum"
"""The score of Algorithm 1 (arXiv 2409.00879)."""

RANDOM_DRAWS = 10
"""Random subsets that an accuracy by chance is the mean of."""


@dataclass(frozen=True)
class Basis:
    """What a score may rest on beside the visit.

    fitted: mean mass of each expert on validation data, per layer (E,). generator: of random draws, on the CPU.
    """

    fitted: Sequence[Tensor] | None
    generator: torch.Generator


def combine_sum(visit: Visit, basis: Basis) -> Tensor | None:
    """Combine weight summed over tokens, which is the mass: Algorithm 1 of arXiv 2409.00879."""
    return visit.routing.mass_BE


def combine_max(visit: Visit, basis: Basis) -> Tensor | None:
    """Largest combine weight that reaches a token."""
    combine_BTE = visit.routing.combine_BTE
    return None if combine_BTE is None else combine_BTE.amax(1)


def combine_norm(visit: Visit, basis: Basis) -> Tensor | None:
    """Sum over tokens of the norm of what the expert adds. A diagnostic: it needs the outputs of all experts."""
    return contribution_norms(visit.layer, visit.x_BTD, visit.routing)


def dispatch(visit: Visit, basis: Basis) -> Tensor | None:
    """Largest weight with which a token reaches the expert."""
    dispatch_BTE = dispatch_weights(visit.layer, visit.routing)
    return None if dispatch_BTE is None else dispatch_BTE.amax(1)


def static(visit: Visit, basis: Basis) -> Tensor | None:
    """Mean mass on validation data: the same experts for every input."""
    mass_BE = visit.routing.mass_BE
    if mass_BE is None:
        return None
    if basis.fitted is None:
        raise UsageError(
            "the score 'static' has not been fitted; give it the mean masses on validation data.",
            code="static-not-fitted",
        )
    return basis.fitted[visit.index].to(mass_BE.device).expand_as(mass_BE)


def random(visit: Visit, basis: Basis) -> Tensor | None:
    """An independent draw for each input, layer and expert."""
    mass_BE = visit.routing.mass_BE
    return None if mass_BE is None else torch.rand(mass_BE.shape, generator=basis.generator).to(mass_BE.device)


def worst(visit: Visit, basis: Basis) -> Tensor | None:
    """The mass with its sign turned: the experts that Algorithm 1 would take last."""
    mass_BE = visit.routing.mass_BE
    return None if mass_BE is None else -mass_BE


@torch.no_grad()
def contribution_norms(layer: Layer, x_BTD: Tensor, routing: Routing) -> Tensor | None:
    """norm_BE: the l2 norm of what expert e adds to a token's output, summed over tokens; None without experts.

    By the layer's own method, if it has a shorter way than :func:`masked_norms`.
    """
    own: Callable[[Tensor, Routing], Tensor] | None = getattr(layer, "contribution_norms", None)
    if own is not None:
        return own(x_BTD, routing)
    return masked_norms(layer, x_BTD, routing) if layer.num_experts else None


@torch.no_grad()
def masked_norms(layer: Layer, x_BTD: Tensor, routing: Routing) -> Tensor:
    """norm_BE by one masked pass an expert, less what shared parts give without any."""
    nobody_BE = torch.zeros(len(x_BTD), layer.num_experts, dtype=torch.bool, device=x_BTD.device)
    base_BTO = layer.compute(x_BTD, routing, nobody_BE)
    norms = []
    for expert in range(layer.num_experts):
        alone_BE = nobody_BE.index_fill(1, torch.tensor(expert, device=x_BTD.device), True)
        norms.append((layer.compute(x_BTD, routing, alone_BE) - base_BTO).norm(dim=-1).flatten(1).sum(1))
    return torch.stack(norms, 1)


def dispatch_weights(layer: Layer, routing: Routing) -> Tensor | None:
    """dispatch_BTE: the share of token t in what expert e works on; None where experts work on single tokens."""
    own: Callable[[Routing], Tensor] | None = getattr(layer, "dispatch_weights", None)
    return None if own is None else own(routing)


SCORES: Mapping[str, Callable[[Visit, Basis], Tensor | None]] = MappingProxyType(
    {score.__name__: score for score in (combine_sum, combine_max, combine_norm, dispatch, static, random, worst)}
)
"""Scores by name; None where the layer cannot give it."""

NOTES: Mapping[str, str] = MappingProxyType(
    {
        "combine_norm": "combine_norm computes every expert in order to choose among them: a diagnostic that saves "
        "no work.",
        "dispatch": "dispatch weights say how an expert's input is mixed, not how much of its output is used.",
    }
)
"""What a reader of numbers made with a score must know."""


def score_named(
    name: str, *, fitted: Sequence[Tensor] | None = None, generator: torch.Generator | None = None
) -> Score:
    """The score of that name; without a generator random draws are those of seed 0.

    :class:`UnknownNameError` for a name that nothing has; the score itself raises :class:`UsageError` in a layer
    that cannot give it.
    """
    check_score(name)
    basis = Basis(fitted, generator or torch.Generator().manual_seed(0))

    def score(visit: Visit) -> Tensor:
        score_BE = SCORES[name](visit, basis)
        if score_BE is None:
            layer, able = type(visit.layer).__name__, scores_of(visit)
            raise UsageError(
                f"{layer} cannot give the score '{name}'; it can give: {', '.join(able) or 'none (no routing)'}.",
                code="layer-lacks-score",
                layer=layer,
                score=name,
                able=able,
            )
        return score_BE

    return score


def check_score(name: str) -> None:
    """:class:`UnknownNameError` with the nearest match for a name that no score has."""
    if name not in SCORES:
        raise UnknownNameError("score", name, SCORES)


def scores_of(visit: Visit) -> list[str]:
    """Names of the scores that the visited layer can give."""
    zero_E = torch.zeros(visit.layer.num_experts)
    basis = Basis([zero_E] * (visit.index + 1), torch.Generator().manual_seed(0))
    return [name for name, score in SCORES.items() if score(visit, basis) is not None]


def mean_mass(found: Evaluation) -> tuple[Tensor, ...] | None:
    """Mean mass of each expert over the inputs, per layer (E,); None if a layer has no experts."""
    if not found.masses or any(mass_NE is None for mass_NE in found.masses):
        return None
    return tuple(mass_NE.double().mean(0) for mass_NE in found.masses if mass_NE is not None)
