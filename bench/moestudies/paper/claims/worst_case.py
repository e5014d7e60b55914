"""Theorem 1 of the paper, and our extension of it: what no layer can tell apart in the worst case."""

from __future__ import annotations

from collections.abc import Sequence

from moebench.studies.claim import FAILS, HOLDS, NOT_RUN, OPEN, Claim, Estimate, Finding, Item
from moebench.studies.evidence import Evidence, Run
from moestudies.paper.claims.norm import PART

UNTRAINED = ("untrained 5x2", "untrained 2x5")
RESIDUAL = ("5x2 residual", "untrained 5x2 residual")
TRAINED = ("5x2", "2x5", "5x2 biases", "2x5 biases", "5x2 two slots", "5x2 many experts", "5x2 normalising router")

ANSWERS, VECTORS = "beyond_limit_at_largest", "vectors_beyond_limit_at_largest"
"""Of the host's fixed sum; of what it sums, which any other g would see."""

Group = tuple[str, Sequence[Run]]


def _groups(evidence: Evidence, arms: dict[str, Sequence[str]], *, one: bool) -> list[Group]:
    """(name, its runs of one expert, or of several)."""
    return [
        (name, [r for arm in of for r in evidence.find(PART, "gaps", arm) if (r.setting("experts") == 1) == one])
        for name, of in arms.items()
    ]


def _all_or_none(groups: Sequence[Group], *, beyond_holds: bool, score: str = ANSWERS) -> Finding:
    """Holds when every layer is on the claimed side of the limit at the largest inputs, fails when none is."""
    items = [_count(name, runs, score, beyond_holds=beyond_holds) for name, runs in groups if runs]
    counts = [run.record.scores.get(score) == 1 for _, runs in groups for run in runs]
    if not counts:
        return Finding(OPEN, NOT_RUN, None)
    whole = Estimate(sum(counts) / len(counts))
    verdict, reason = OPEN, "some layers are beyond the limit and some are not"
    if all(counts) or not any(counts):
        verdict, reason = (HOLDS if all(counts) == beyond_holds else FAILS), ""
    note = f"{sum(counts)} of {len(counts)} layers"
    return Finding(verdict, reason, Item("beyond the limit", whole, verdict, reason, note=note), tuple(items))


def _count(name: str, runs: Sequence[Run], score: str, *, beyond_holds: bool) -> Item:
    beyond = sum(run.record.scores.get(score) == 1 for run in runs)
    share = beyond / len(runs)
    verdict = OPEN if 0 < share < 1 else HOLDS if (share == 1) == beyond_holds else FAILS
    return Item(name, Estimate(share), verdict, note=f"{beyond} of {len(runs)} layers")


WORST: dict[str, Sequence[str]] = {"trained": TRAINED, "initial weights": UNTRAINED}
LIMIT = "|t(A) - t(B)| less |y(A) - y(B)| is more than max{1, t(A)/20} + max{1, t(B)/20}"
PAIRS = "Pairs of inputs A, B of size 10,000, made for each layer so that it cannot tell them apart"

WORST_CASE = (
    Claim(
        key="norm-theorem-one-expert",
        source="paper",
        part=PART,
        statement="In the worst case one expert cannot represent the norm (Theorem 1).",
        paper="Proved for E = 1 and the plain router.",
        here=f"{PAIRS}: every layer of one expert, trained and untrained, both routers, one and two slots.",
        rule=f"Holds when for every layer {LIMIT}; does not hold when for none.",
        unit="count",
        judge=lambda evidence: _all_or_none(_groups(evidence, WORST, one=True), beyond_holds=True),
    ),
    Claim(
        key="norm-several-experts",
        source="extension",
        part=PART,
        statement="In the worst case several experts can represent the norm.",
        paper="Suggested by its experiment; no theorem for E > 1. Our proof: they cannot, at any E, P, T >= 2 and Phi.",
        here=f"{PAIRS}: every layer of several experts, E up to 64, trained and untrained, both routers.",
        rule=f"Does not hold when for every layer {LIMIT}; holds, as far as these pairs tell, when for none.",
        unit="count",
        judge=lambda evidence: _all_or_none(_groups(evidence, WORST, one=False), beyond_holds=False),
    ),
    Claim(
        key="norm-residual",
        source="paper",
        part=PART,
        statement="With a residual connection around the layer the theorem does not apply.",
        paper="Said of E = 1: what follows the layer sees the input itself.",
        here=f"{PAIRS}: the same layers with a residual, y the vectors that g sees, x + y. (Their fixed sum may still "
        "be the same: pairs of equal sum exist.)",
        rule=f"Holds when for no layer {LIMIT}; does not hold when for every one.",
        unit="count",
        judge=lambda evidence: _all_or_none(
            [
                (name, list(evidence.find(PART, "gaps", arm)))
                for name, arm in zip(("trained", "initial weights"), RESIDUAL, strict=True)
            ],
            beyond_holds=False,
            score=VECTORS,
        ),
    ),
)
"""Claims of part ``paper-norm`` that one counterexample decides, whatever the seeds."""
