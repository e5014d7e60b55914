"""The runs of the suite: one sparse model made smaller in several ways, and small models trained as such."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from moebench.studies.claim import Bound, Finding, compare, ratio
from moebench.studies.evidence import Evidence, Series

PART = "compress"
SPARSE = "sparse"
"""The row that is made smaller."""

EXPERTS = 16
KEEPS = (8, 4, 2)
"""Of :data:`EXPERTS`, a layer on average."""

TRAINED_SMALL = (4, 2)
"""Of them, those that models were trained with from the start."""

SEEDS = 5
"""Fewer training seeds settle none of these claims."""

Moment = Literal["unrecovered", "after"]
"""At once, or after recovery."""


@dataclass(frozen=True)
class Way:
    """One way to make the model smaller: its name here, the method, and what that is given."""

    name: str
    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def of(self, evidence: Evidence, keep: int, score: str) -> Series:
        """A score of the compressed models, by training seed."""
        took = {"method": self.method, "keep": keep, "settings": dict(self.settings)}
        return evidence.values(PART, "compressed", SPARSE, score, **took)


ALL = Way("all experts", "keep_all")
MERGE = Way("merge", "merge", {"align": True})
UNALIGNED = Way("merge, not aligned", "merge", {"align": False})
FACTORED = Way("merge, then compress", "merge_compress", {"rank": 8, "sparse": 0.1})
REAP = Way("prune by saliency (REAP)", "prune_reap")
USAGE = Way("prune by usage", "prune_usage")
RANDOM = Way("prune at random", "prune_random")
WAYS = (MERGE, FACTORED, REAP, USAGE, RANDOM)


def whole(evidence: Evidence) -> Series:
    """Accuracy of the model with all its experts, fine-tuned for as many steps as the compressed ones."""
    return ALL.of(evidence, EXPERTS, "after")


def small(evidence: Evidence, keep: int) -> Series:
    """Accuracy of the model that was trained with so many experts, for as many steps in all."""
    return evidence.values(PART, "final", f"small {keep}", "test_accuracy")


def milliseconds(evidence: Evidence, name: str, batch: int = 100) -> Series:
    """Of one pass of the whole model; of ``whole`` or ``<method> <keep>``."""
    return evidence.values(PART, "compressed_cost", SPARSE, f"{name} model_ms batch={batch}")


def more(one: Way, other: Way, moment: Moment) -> Callable[[Evidence], Finding]:
    """Judge that one way leaves more accuracy than another at every number kept, paired by seed."""
    return lambda evidence: above_at_each(
        (keep, one.of(evidence, keep, moment), other.of(evidence, keep, moment)) for keep in KEEPS
    )


def above_at_each(found: Iterable[tuple[int, Series, Series]]) -> Finding:
    """Whether the first accuracy is above the second at every (number kept, first, second)."""
    return compare(((f"{keep} of {EXPERTS} experts", a, b) for keep, a, b in found), Bound(0, least_seeds=SEEDS))


def saved(evidence: Evidence, way: Way, keep: int, what: str) -> Series:
    """The share of parameters, memory or FLOPs that is gone."""
    after, before = (way.of(evidence, keep, name) for name in (what, f"{what} before"))
    return {seed: 1 - value for seed, value in ratio(after, before).items()}
