"""How claims about subsets of the experts are judged: differences of accuracies, paired by training seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from moebench.studies.claim import NOT_RUN, Bound, Finding, difference, every, mean
from moebench.studies.evidence import Evidence, Series

PAPERS = "combine_sum"
"""The score of Algorithm 1."""

LEAST = 8
"""The fewest experts of which 1/8 is an expert."""


def accuracy(evidence: Evidence, part: str, arm: str, selection: str, experts: int, share: int) -> Series:
    """Test accuracy by seed with k = E / share experts. selection: a score, or the paper's score with a rule.

    ``all`` and ``none`` have no k.
    """
    score = selection if selection in ("all", "none") else f"{selection} k={experts // share}"
    return evidence.values(part, "subset", arm, score, experts=experts)


def means(a: Series, b: Series) -> str:
    """The two means that a difference is of."""
    found = [mean(a), mean(b)]
    return " and ".join(f"{each.value:.3f}" if each else "-" for each in found)


@dataclass(frozen=True)
class Gain:
    """Judge the accuracy of one selection less that of another at k = E / share, for every E of an arm.

    experts: these alone (default: all from :data:`LEAST` on).
    """

    part: str
    arm: str
    a: str
    b: str
    share: int
    bound: Bound
    experts: Sequence[int] | None = None

    def __call__(self, evidence: Evidence) -> Finding:
        """The finding over all E."""
        items = []
        for experts in evidence.experts(self.part, "subset", self.arm):
            if experts in self.experts if self.experts is not None else experts >= LEAST:
                a, b = (accuracy(evidence, self.part, self.arm, s, experts, self.share) for s in (self.a, self.b))
                items.append(self.bound.judge(f"E = {experts}", difference(a, b), means(a, b)))
        return every(items, NOT_RUN)
