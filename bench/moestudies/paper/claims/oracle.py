"""The exhaustive search for the best subset, with the label known, beside its null."""

from __future__ import annotations

from dataclasses import dataclass

from moebench.studies.claim import NOT_RUN, Bound, Claim, Finding, difference, every, less
from moebench.studies.evidence import Evidence, Series
from moestudies.paper.claims.judges import means
from moestudies.paper.claims.subsets import ARM, PART


@dataclass(frozen=True)
class _Above:
    """Judge one score of the search less another above 0, for every E that was searched."""

    a: str
    b: str

    def __call__(self, evidence: Evidence) -> Finding:
        items = []
        for experts in evidence.experts(PART, "oracle", ARM):
            a, b = (evidence.values(PART, "oracle", ARM, score, experts=experts) for score in (self.a, self.b))
            if a:
                items.append(Bound(0).judge(f"E = {experts}", difference(a, b), means(a, b)))
        return every(items, NOT_RUN)


def _rises(evidence: Evidence) -> Finding:
    """The rise of the best subset from the fewest experts to the most, less that of its null."""
    lifts: dict[int, Series] = {}
    for experts in evidence.experts(PART, "oracle", ARM):
        best, null = (evidence.values(PART, "oracle", ARM, s, experts=experts) for s in ("oracle", "oracle_null"))
        if lift := less(best, null):
            lifts[experts] = lift
    if len(lifts) < 2:
        return every([], NOT_RUN)
    few, many = min(lifts), max(lifts)
    what = f"E = {many} less E = {few}"
    return every([Bound(0).judge(what, difference(lifts[many], lifts[few]), means(lifts[many], lifts[few]))], NOT_RUN)


ORACLE = (
    Claim(
        key="oracle-beats-random",
        source="paper",
        part=PART,
        statement="For each input some quarter of the experts answers far better than a random quarter.",
        paper="MNIST, exhaustive search: 94.69, 99.90, 100.00 % against random 46.57, 51.95, 58.94 % (E = 4, 8, 16).",
        here="Best of all subsets of k = E/4 with the label known, less random; 2,000 test inputs of Fashion-MNIST.",
        rule="Holds when for every E that was searched the interval lies above 0.",
        unit="difference",
        judge=_Above("oracle", "random"),
    ),
    Claim(
        key="oracle-beats-null",
        source="extension",
        part=PART,
        statement="The best quarter is right more often than the search alone would make it.",
        paper="Has no null: the best of C(E, E/4) subsets is often right by chance.",
        here="The same search, less the search for shuffled labels.",
        rule="Holds when for every E that was searched the interval lies above 0.",
        unit="difference",
        judge=_Above("oracle", "oracle_null"),
    ),
    Claim(
        key="oracle-rise",
        source="extension",
        part=PART,
        statement="The best quarter improves with E by more than the search alone does.",
        paper="Reads the rise from 94.69 to 100.00 % as stronger specialization.",
        here="Best subset less its null, at the most experts less at the fewest.",
        rule="Holds when the interval lies above 0.",
        unit="difference",
        judge=_rises,
    ),
)
"""Claims about the best subset."""
