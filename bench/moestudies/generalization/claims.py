"""The claims, and the rule of each verdict."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from moebench.studies.claim import Bound, Claim, Finding, difference, every, exact, less, mean
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


def _grows(row: str) -> Callable[[Evidence], Finding]:
    def judge(evidence: Evidence) -> Finding:
        models = gaps(evidence, row)
        if len(models) < 2:
            return every([])
        first, last = _ends(models)
        what = f"{_name(last)} less {_name(first)}"
        return every([_above(0).judge(what, difference(models[last], models[first]))])

    return judge


def _grows_less_with_experts(evidence: Evidence) -> Finding:
    over_k, over_e = gaps(evidence, OVER_K), gaps(evidence, OVER_E)
    if len(over_k) < 2 or len(over_e) < 2:
        return every([])
    growths = [less(models[last], models[first]) for models in (over_k, over_e) for first, last in [_ends(models)]]
    return every([_above(0).judge("growth over K less growth over E", difference(*growths))])


def _of_all(what: str, number: Callable[[dict[Model, float]], float], bound: float) -> Callable[[Evidence], Finding]:
    """Judge a number of each seed, which may be the same in all of them, as rank correlations may be."""

    def judge(evidence: Evidence) -> Finding:
        found = by_seed(all_gaps(evidence))
        if not found or len(next(iter(found.values()))) < 3:
            return every([])
        estimate = exact(mean({seed: number(gap) for seed, gap in found.items()}))
        return every([_above(bound).judge(what, estimate)])

    return judge


def _ends(models: dict[Model, Series]) -> tuple[Model, Model]:
    return next(iter(models)), next(reversed(models))


def _name(model: Model) -> str:
    return "E = {}, K = {}".format(*model)


HERE = (
    "Test error less training error of sparse top-k layers, trained on 2,000 images of Fashion-MNIST for as long as all"
)

_above = partial(Bound, least_seeds=LEAST_SEEDS)
_claim = partial(Claim, part=PART, rule=f"Holds when the interval over at least {LEAST_SEEDS} seeds lies above 0.")

CLAIMS = (
    _claim(
        key="gap-grows-with-k",
        statement="Of the same experts, more that act widen the gap.",
        paper="The bound grows with K nearly like its square root, at fixed E.",
        here=f"{HERE}: K = 8 of 16 experts less K = 1.",
        judge=_grows(OVER_K),
    ),
    _claim(
        key="gap-grows-with-e",
        statement="More experts of the same size, of which as many act, widen the gap.",
        paper="The bound grows with log E at fixed K.",
        here=f"{HERE}: 32 experts less 4, two acting.",
        judge=_grows(OVER_E),
    ),
    _claim(
        key="gap-grows-less-with-e",
        statement="Eight times as many experts that act widen the gap more than eight times as many that are there.",
        paper="sqrt(K) against sqrt(log E).",
        here=f"{HERE}: its growth from K = 1 to 8 of 16 experts, less that from 4 to 32 experts of which two act.",
        judge=_grows_less_with_experts,
    ),
    _claim(
        key="slope",
        source="extension",
        statement="The gap rises with sqrt(K (1 + log(E/K))).",
        paper="A bound up to constants; nothing is measured.",
        here=f"{HERE}: slope of the line through all models, fitted for each seed.",
        unit="slope",
        judge=_of_all("slope over sqrt(K (1 + log(E/K)))", slope, 0),
    ),
    _claim(
        key="order",
        source="extension",
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
