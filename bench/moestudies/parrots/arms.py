"""The models of the two parts, as their suites name them, and the scores that claims and figures are made of."""

from __future__ import annotations

import math
from dataclasses import dataclass

from moebench.studies.evidence import Evidence, Series

RECALL, PATHS = "parrots-recall", "parrots-paths"
SIZES = (512, 1024, 2048, 4096)
"""Pairs in the phone books."""

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
    def arm(self) -> str:
        """Its arm in the suites, without the book."""
        if self.width != NARROW:
            return f"width {self.width}"
        return "dense" if self.experts == 1 else "top-2"

    def accuracy(self, evidence: Evidence, part: str, arm: str) -> Series:
        """Test accuracy of an arm of it, by seed."""
        chosen = {"experts": self.experts} if self.experts > 1 else {}
        return evidence.values(part, "final", arm, "test_accuracy", **chosen)


def book(arm: str, pairs: int) -> str:
    """The arm that learns a book of so many pairs."""
    return f"{arm}, {pairs} pairs"


def by_experts(evidence: Evidence, part: str) -> list[Model]:
    """The narrow models that have run, from few experts to many."""
    arms = ["top-2", *(book("top-2", pairs) for pairs in SIZES)]
    found = {experts for arm in arms for experts in evidence.experts(part, "final", arm)}
    return [Model(NARROW, experts) for experts in sorted({1} | found)]


def by_width() -> list[Model]:
    """The models of equal totals, from narrow to wide."""
    return [Model(width, WIDTHS[width]) for width in sorted(WIDTHS)]


def recall(evidence: Evidence, model: Model, pairs: int) -> Series:
    """Share of a book's numbers that are recalled, by seed."""
    return model.accuracy(evidence, RECALL, book(model.arm, pairs))


def paths(evidence: Evidence, model: Model) -> Series:
    """Share of the paths that are right, by seed."""
    return model.accuracy(evidence, PATHS, model.arm)


def known(evidence: Evidence, model: Model) -> Series:
    """Pairs of the largest book that is known, by seed; of the seeds that have tried every book."""
    curves = [recall(evidence, model, pairs) for pairs in SIZES]
    seeds = set.intersection(*map(set, curves))
    return {seed: largest_known([curve[seed] for curve in curves]) for seed in sorted(seeds)}


def largest_known(shares: list[float]) -> float:
    """Where recall over :data:`SIZES` first falls below :data:`KNOWN`, on straight lines over the logarithm of pairs.

    No less than the smallest book and no more than the largest: beyond them nothing was tried.
    """
    first = next((index for index, share in enumerate(shares) if share < KNOWN), len(shares))
    if first in (0, len(shares)):
        return float(SIZES[min(first, len(shares) - 1)])
    before, after = shares[first - 1], shares[first]
    low, high = math.log2(SIZES[first - 1]), math.log2(SIZES[first])
    return float(2 ** (low + (before - KNOWN) / (before - after) * (high - low)))
