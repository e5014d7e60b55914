"""The rows of the suite: two families of experts, each under every constraint, and the plain networks beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

from moebench.studies.claim import Bound, Finding, compare, less
from moebench.studies.evidence import Evidence, Series

PART = "cnn"

SEEDS = 5
"""Fewer training seeds settle none of these claims."""

SOFT = ("importance", "kl")
HARD = "hard"
CONSTRAINTS = ("none", *SOFT, HARD)
PLAIN, PLAIN_ACTIVE = "plain", "plain active"

NAMES = {
    "none": "no constraint",
    "importance": "soft: CV² of importance",
    "kl": "soft: KL to uniform",
    HARD: "hard",
    PLAIN: "plain, same parameters",
    PLAIN_ACTIVE: "plain, same work",
}
"""As figures name them."""


@dataclass(frozen=True)
class Family:
    """name: with which its rows begin. experts: what they are."""

    name: str
    experts: str


FAMILIES = (Family("block", "experts are ResNet blocks"), Family("conv", "experts are convolutions"))


def row_name(family: Family, what: str) -> str:
    """The name of a row: ``block hard``."""
    return f"{family.name} {what}"


@dataclass(frozen=True)
class RowScore:
    """A score of the rows. kind: ``final`` or the measure ``fixed``. less: another one, which is taken away from it."""

    kind: str
    name: str
    less: str = ""

    def of(self, evidence: Evidence, name: str) -> Series:
        """By training seed."""
        values = evidence.values(PART, self.kind, name, self.name)
        return less(values, evidence.values(PART, self.kind, name, self.less)) if self.less else values


ACCURACY = RowScore("final", "test_accuracy")
INFORMATION = RowScore("final", "class_information")
EVENNESS = RowScore("fixed", "use_entropy")
FIXED = RowScore("fixed", "fixed")
LOST = RowScore("fixed", "all", less="fixed")
"""What a single fixed expert loses against all."""


def more(score: RowScore, these: Sequence[str], than: Sequence[str]) -> Callable[[Evidence], Finding]:
    """Judge that each row of ``these`` has more of a score than each of ``than``, in every family, paired by seed."""

    def judge(evidence: Evidence) -> Finding:
        pairs = []
        for family, a, b in product(FAMILIES, these, than):
            one, other = (score.of(evidence, row_name(family, what)) for what in (a, b))
            pairs.append((f"{family.name}: {a} less {b}", one, other))
        return compare(pairs, Bound(0, least_seeds=SEEDS))

    return judge
