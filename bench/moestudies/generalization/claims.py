"""The claims, and the rule of each verdict."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from moebench.studies.claim import NOT_RUN, Bound, Claim, Finding, Item, difference, every, less, mean
from moebench.studies.evidence import Evidence, Series
from moestudies.generalization.models import (
    OVER_E,
    OVER_K,
    PART,
    Model,
    all_gaps,
    by_seed,
    gaps,
    order,
    slope,
)

LEAST_SEEDS = 5

AGREES = 0.5
"""Kendall's tau above which an order holds: three of four pairs of models are ordered as the bound orders them."""


def _grows(arm: str) -> Callable[[Evidence], Finding]:
    def judge(evidence: Evidence) -> Finding:
        models = gaps(evidence, arm)
        if len(models) < 2:
            return every([], NOT_RUN)
        first, last = _ends(models)
        return every([_item(0, f"{_name(last)} less {_name(first)}", models[last], models[first])], NOT_RUN)

    return judge


def _grows_less_with_experts(evidence: Evidence) -> Finding:
    over_k, over_e = gaps(evidence, OVER_K), gaps(evidence, OVER_E)
    if len(over_k) < 2 or len(over_e) < 2:
        return every([], NOT_RUN)
    growths = [less(models[last], models[first]) for models in (over_k, over_e) for first, last in [_ends(models)]]
    return every([_item(0, "growth over K less growth over E", *growths)], NOT_RUN)


def _of_all(what: str, number: Callable[[dict[Model, float]], float], bound: float) -> Callable[[Evidence], Finding]:
    """Of a number of each seed. One that is the same in all seeds, as rank correlations may be, is its own interval."""

    def judge(evidence: Evidence) -> Finding:
        found = by_seed(all_gaps(evidence))
        if not found or len(next(iter(found.values()))) < 3:
            return every([], NOT_RUN)
        estimate = mean({seed: number(gap) for seed, gap in found.items()})
        if estimate is not None and estimate.low is None:
            estimate = dataclasses.replace(estimate, low=estimate.value, high=estimate.value)
        return every([Bound(bound, least_seeds=LEAST_SEEDS).judge(what, estimate)], NOT_RUN)

    return judge


def _item(bound: float, what: str, a: Series, b: Series) -> Item:
    return Bound(bound, least_seeds=LEAST_SEEDS).judge(what, difference(a, b))


def _ends(models: dict[Model, Series]) -> tuple[Model, Model]:
    return next(iter(models)), next(reversed(models))


def _name(model: Model) -> str:
    return "E = {}, K = {}".format(*model)


HERE = (
    "Test error less training error of sparse top-k layers, trained on 2,000 images of Fashion-MNIST for as long as all"
)

CLAIMS = (
    Claim(
        key="gap-grows-with-k",
        source="paper",
        part=PART,
        statement="Of the same experts, more that act widen the gap.",
        paper="The bound grows with K nearly like its square root, at fixed E.",
        here=f"{HERE}: K = 8 of 16 experts less K = 1.",
        rule=f"Holds when the interval over at least {LEAST_SEEDS} seeds lies above 0.",
        unit="difference",
        judge=_grows(OVER_K),
    ),
    Claim(
        key="gap-grows-with-e",
        source="paper",
        part=PART,
        statement="More experts of the same size, of which as many act, widen the gap.",
        paper="The bound grows with log E at fixed K.",
        here=f"{HERE}: 32 experts less 4, two acting.",
        rule=f"Holds when the interval over at least {LEAST_SEEDS} seeds lies above 0.",
        unit="difference",
        judge=_grows(OVER_E),
    ),
    Claim(
        key="gap-grows-less-with-e",
        source="paper",
        part=PART,
        statement="Eight times as many experts that act widen the gap more than eight times as many that are there.",
        paper="sqrt(K) against sqrt(log E).",
        here=f"{HERE}: its growth from K = 1 to 8 of 16 experts, less that from 4 to 32 experts of which two act.",
        rule=f"Holds when the interval over at least {LEAST_SEEDS} seeds lies above 0.",
        unit="difference",
        judge=_grows_less_with_experts,
    ),
    Claim(
        key="slope",
        source="extension",
        part=PART,
        statement="The gap rises with sqrt(K (1 + log(E/K))).",
        paper="A bound up to constants; nothing is measured.",
        here=f"{HERE}: slope of the line through all models, fitted for each seed.",
        rule=f"Holds when the interval over at least {LEAST_SEEDS} seeds lies above 0.",
        unit="slope",
        judge=_of_all("slope over sqrt(K (1 + log(E/K)))", slope, 0),
    ),
    Claim(
        key="order",
        source="extension",
        part=PART,
        statement="Models are in the order of the bound.",
        paper="A bound up to constants; nothing is measured.",
        here=f"{HERE}: Kendall's rank correlation of gap and bound over all models, for each seed.",
        rule=f"Holds when the interval over at least {LEAST_SEEDS} seeds lies above {AGREES:g}, where three of four "
        "pairs of models are ordered as the bound orders them.",
        unit="rank correlation",
        judge=_of_all("Kendall's tau", order, AGREES),
    ),
)
"""In the order of the report."""
