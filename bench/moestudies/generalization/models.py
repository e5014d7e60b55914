"""The models of the suite, and the bound of each."""

from __future__ import annotations

import math
from collections.abc import Mapping

from moebench.studies.evidence import Evidence, Series

PART = "generalization"
OVER_K, OVER_E = "over K", "over E"
GAP = "error_gap"

Model = tuple[int, int]
"""(E, K)."""


def complexity(model: Model) -> float:
    """sqrt(K (1 + log(E / K))), the part of the bound in which models of equal experts differ (arXiv 2403.17404,
    Theorem 1), up to a constant.
    """
    experts, top_k = model
    return math.sqrt(top_k * (1 + math.log(experts / top_k)))


def gaps(evidence: Evidence, row: str, score: str = GAP) -> dict[Model, Series]:
    """A score of every model of a row, by training seed; in the order of E and K."""
    found: dict[Model, dict[int, float]] = {}
    for run in evidence.find(PART, "generalization", row):
        value = run.record.scores.get(score)
        if value is not None:
            found.setdefault((run.setting("experts"), run.setting("top_k")), {})[run.index] = value
    return dict(sorted(found.items()))


def all_gaps(evidence: Evidence, score: str = GAP) -> dict[Model, Series]:
    """Of both rows, each model once."""
    return gaps(evidence, OVER_K, score) | gaps(evidence, OVER_E, score)


def by_seed(models: Mapping[Model, Series]) -> dict[int, dict[Model, float]]:
    """The gap of each model, by training seed; seeds that lack a model are left out."""
    seeds = set.intersection(*(set(series) for series in models.values())) if models else set()
    return {seed: {model: series[seed] for model, series in models.items()} for seed in sorted(seeds)}


def slope(gap: Mapping[Model, float]) -> float:
    """Of the least-squares line of gaps over :func:`complexity`."""
    x = [complexity(model) for model in gap]
    middle, level = sum(x) / len(x), sum(gap.values()) / len(x)
    above = sum((at - middle) * (value - level) for at, value in zip(x, gap.values(), strict=True))
    return above / sum((at - middle) ** 2 for at in x)


def order(gap: Mapping[Model, float]) -> float:
    """Kendall's tau-b between :func:`complexity` and gaps: 1 where their orders agree, -1 where they are opposite."""
    from scipy.stats import kendalltau

    return float(kendalltau([complexity(model) for model in gap], list(gap.values())).statistic)
