"""The models of the two parts, as their suites name them, and the scores that claims and figures are made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from moebench.studies.evidence import Evidence, Series

RECALL, PATHS = "parrots-recall", "parrots-paths"
SIZES = (512, 609, 724, 861, 1024, 1218, 1448, 1722, 2048, 2435, 2896, 3444, 4096)
"""Pairs in the phone books: four to an octave."""

WIDTHS = {16: 32, 24: 16, 32: 8}
"""Width D of the host -> experts E, at equal totals of the whole model."""

NARROW = min(WIDTHS)
"""The width at which the number of experts varies, at equal active parameters."""

KNOWN = 0.9
"""A book is known by heart when so much of it is recalled."""


@dataclass(frozen=True)
class Model:
    """One of the models that are compared; one with 1 expert has plain MLPs."""

    width: int
    experts: int

    @property
    def row(self) -> str:
        """Its row in the suites, without the book."""
        if self.width != NARROW:
            return f"width {self.width}"
        return "dense" if self.experts == 1 else "top-2"

    def accuracy(self, evidence: Evidence, part: str, row: str) -> Series:
        """Test accuracy of a row of it, by seed."""
        chosen = {"experts": self.experts} if self.experts > 1 else {}
        return evidence.values(part, "final", row, "test_accuracy", **chosen)


def book(row: str, pairs: int) -> str:
    """The row that learns a book of so many pairs."""
    return f"{row}, {pairs} pairs"


def by_experts(evidence: Evidence, part: str) -> list[Model]:
    """The narrow models that have run, from few experts to many."""
    rows = ["top-2", *(book("top-2", pairs) for pairs in SIZES)]
    found = {experts for row in rows for experts in evidence.experts(part, "final", row)}
    return [Model(NARROW, experts) for experts in sorted({1} | found)]


def by_width() -> list[Model]:
    """The models of equal totals, from narrow to wide."""
    return [Model(width, WIDTHS[width]) for width in sorted(WIDTHS)]


def recall(evidence: Evidence, model: Model, pairs: int) -> Series:
    """Share of a book's numbers that are recalled, by seed."""
    return model.accuracy(evidence, RECALL, book(model.row, pairs))


def paths(evidence: Evidence, model: Model) -> Series:
    """Share of the paths that are right, by seed."""
    return model.accuracy(evidence, PATHS, model.row)


@dataclass(frozen=True)
class Capacity:
    """Pairs of the largest book that is known: read off the curve, and the two neighbouring books between which it lies
    whatever the curve does between them, as long as it falls.
    """

    pairs: float
    least: float
    most: float


def known(evidence: Evidence, model: Model) -> dict[int, Capacity]:
    """The largest book that is known, by seed, over the books that have run; of the seeds that have tried all these."""
    tried = {pairs: curve for pairs in SIZES if (curve := recall(evidence, model, pairs))}
    if not tried:
        return {}
    seeds = set.intersection(*map(set, tried.values()))
    return {s: largest_known([*tried], [curve[s] for curve in tried.values()]) for s in sorted(seeds)}


def pairs_known(evidence: Evidence, model: Model) -> Series:
    """As read off the curve, by seed."""
    return {seed: capacity.pairs for seed, capacity in known(evidence, model).items()}


def largest_known(sizes: Sequence[int], shares: Sequence[float]) -> Capacity:
    """Where recall over ``sizes`` first falls below :data:`KNOWN`, on straight lines over the logarithm of pairs.

    Below the smallest book and above the largest nothing was tried, so that there is no other end.
    """
    first = next((index for index, share in enumerate(shares) if share < KNOWN), len(shares))
    if first == 0:
        return Capacity(float(sizes[0]), 0.0, float(sizes[0]))
    if first == len(shares):
        return Capacity(float(sizes[-1]), float(sizes[-1]), math.inf)
    before, after = shares[first - 1], shares[first]
    least, most = sizes[first - 1], sizes[first]
    return Capacity(least * (most / least) ** ((before - KNOWN) / (before - after)), float(least), float(most))
