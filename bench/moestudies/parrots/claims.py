"""What arXiv 2410.19034 claims, in four parts, each with the rule of its verdict."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from math import inf

from moebench.studies.claim import Bound, Claim, Finding, SeededEstimate, bracketed, compare, every, means
from moebench.studies.evidence import Evidence
from moestudies.parrots.rows import (
    KNOWN,
    NARROW,
    PATHS,
    RECALL,
    SIZES,
    Capacity,
    Model,
    by_experts,
    by_width,
    known,
    pairs_known,
    paths,
)

LEAST_SEEDS = 5
NO_LARGER = 1.25
"""A book is no larger than another when it is less than so many times as large."""

NO_MORE = 0.05
"""No more paths are found when less than so much more of all are."""

Pair = tuple[Model, Model]
"""The model of which a claim expects more, and the one it is compared with."""


def _books(evidence: Evidence, pairs: Iterable[Pair], bound: Bound) -> Finding:
    """Ratios of the largest books that are known, with the books between which they lie in their intervals."""
    items = []
    for more, less in pairs:
        a, b = known(evidence, more), known(evidence, less)
        if a or b:
            note = means(pairs_known(evidence, more), pairs_known(evidence, less), "{:,.0f}")
            items.append(bound.judge(f"{_name(more, less)} over {_name(less, more)}", _ratio(a, b), note))
    return every(items)


def _ratio(a: dict[int, Capacity], b: dict[int, Capacity]) -> SeededEstimate | None:
    """Of two largest books, by seed; from the smallest that they allow to the largest."""
    both = {seed: (a[seed], b[seed]) for seed in sorted(a.keys() & b.keys())}
    return bracketed(
        {seed: one.pairs / other.pairs for seed, (one, other) in both.items()},
        {seed: one.least / other.most for seed, (one, other) in both.items()},
        {seed: one.most / other.least if other.least else inf for seed, (one, other) in both.items()},
    )


def _shares(evidence: Evidence, pairs: Iterable[Pair], bound: Bound) -> Finding:
    """Differences of the shares of paths that are found."""
    found = [(more, less, paths(evidence, more), paths(evidence, less)) for more, less in pairs]
    return compare([(f"{_name(m, n)} less {_name(n, m)}", a, b) for m, n, a, b in found if a or b], bound)


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
    f"Books of {SIZES[0]:,} to {SIZES[-1]:,} pairs; the largest of which {KNOWN:.0%} is recalled, read off "
    "the curve. The interval includes the two books between which it lies."
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
