"""What arXiv 2410.19034 claims, in four parts, each with the rule of its verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise

from moebench.studies.claim import Bound, Claim, Finding, compare, every, mean, means, ratio
from moebench.studies.evidence import Evidence, Series
from moestudies.parrots.arms import KNOWN, NARROW, PATHS, RECALL, SIZES, Model, by_experts, by_width, known, paths

LEAST_SEEDS = 5
NO_LARGER = 1.25
"""A book is no larger than another when it is less than so many times as large."""

NO_MORE = 0.05
"""No more paths are found when less than so much more of all are."""

Pair = tuple[Model, Model]
"""The model of which a claim expects more, and the one it is compared with."""


def _books(evidence: Evidence, pairs: Iterable[Pair], bound: Bound) -> Finding:
    """Ratios of the largest books that are known."""
    found = _named(evidence, pairs, known, "over")
    return every([bound.judge(what, mean(ratio(a, b)), means(a, b, "{:,.0f}")) for what, a, b in found])


def _shares(evidence: Evidence, pairs: Iterable[Pair], bound: Bound) -> Finding:
    """Differences of the shares of paths that are found."""
    return compare(_named(evidence, pairs, paths, "less"), bound)


def _named(
    evidence: Evidence, pairs: Iterable[Pair], of: Callable[[Evidence, Model], Series], word: str
) -> Iterator[tuple[str, Series, Series]]:
    """A score of the pairs of which one has run, under the names of both."""
    for more, less in pairs:
        a, b = of(evidence, more), of(evidence, less)
        if a or b:
            yield f"{_name(more, less)} {word} {_name(less, more)}", a, b


def _name(model: Model, other: Model) -> str:
    """What differs from the other model."""
    return f"E = {model.experts}" if model.width == other.width else f"D = {model.width}"


def _more_experts_know_more(evidence: Evidence) -> Finding:
    models = by_experts(evidence, RECALL)
    return _books(evidence, ((more, less) for less, more in pairwise(models)), Bound(1, least_seeds=LEAST_SEEDS))


def _wider_knows_no_more(evidence: Evidence) -> Finding:
    narrow, *_, wide = by_width()
    return _books(evidence, [(wide, narrow)], Bound(NO_LARGER, "below", LEAST_SEEDS))


def _more_experts_find_no_more(evidence: Evidence) -> Finding:
    dense, *sparse = by_experts(evidence, PATHS)
    return _shares(evidence, ((model, dense) for model in sparse), Bound(NO_MORE, "below", LEAST_SEEDS))


def _wider_finds_more(evidence: Evidence) -> Finding:
    return _shares(evidence, ((more, less) for less, more in pairwise(by_width())), Bound(0, least_seeds=LEAST_SEEDS))


_BOOKS = (
    f"Books of {SIZES[0]:,} to {SIZES[-1]:,} pairs; the largest of which {KNOWN:.0%} is recalled, read off the curve."
)
_WIDTHS = ", ".join(f"D = {model.width} with E = {model.experts}" for model in by_width())

CLAIMS = (
    Claim(
        key="recall-experts",
        part=RECALL,
        statement="At equal active parameters, more experts know a larger phone book by heart.",
        paper="Recall follows the total number of parameters, whether they are active or not.",
        here=f"{_BOOKS} Neighbouring E, top-2 and one dense, D = {NARROW}.",
        rule="Holds when the interval of every ratio lies above 1.",
        unit="ratio",
        judge=_more_experts_know_more,
    ),
    Claim(
        key="recall-width",
        part=RECALL,
        statement="At equal totals, a wider model of fewer experts knows no larger one.",
        paper="Mixtures recall as much as dense models of the same total.",
        here=f"{_BOOKS} {_WIDTHS}; the widest over the narrowest.",
        rule=f"Holds when the interval of the ratio lies below {NO_LARGER:g}.",
        unit="ratio",
        judge=_wider_knows_no_more,
    ),
    Claim(
        key="paths-experts",
        part=PATHS,
        statement="At equal active parameters, more experts find no more shortest paths.",
        paper="More experts stop helping: mixtures stay at what dense models of their width do.",
        here=f"Share of right paths of every E less that of the dense model, D = {NARROW}.",
        rule=f"Holds when the interval of every difference lies below {NO_MORE:g}.",
        judge=_more_experts_find_no_more,
    ),
    Claim(
        key="paths-width",
        part=PATHS,
        statement="At equal totals, a wider model of fewer experts finds more of them.",
        paper="Success follows the width.",
        here=f"Differences of the share of right paths between neighbouring widths: {_WIDTHS}.",
        rule="Holds when the interval of every difference lies above 0.",
        judge=_wider_finds_more,
    ),
)
"""All of them, in the order of the report."""
