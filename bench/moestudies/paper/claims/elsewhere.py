"""Claims of the paper about another task, or models of another scale, than were measured here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from moebench.studies.claim import ELSEWHERE, FAILS, HOLDS, OPEN, Finding, Verdict
from moebench.studies.evidence import Evidence

Judge = Callable[[Evidence], Finding]

MET: dict[Verdict, str] = {HOLDS: "is met", FAILS: "is not met", OPEN: "gives no verdict"}


def elsewhere(judge: Judge, *, measured: str, paper: str) -> Judge:
    """The numbers as they are, without a verdict; the reason says what the rule gives for what was measured."""

    def judged(evidence: Evidence) -> Finding:
        found = judge(evidence)
        if found.decides is None:
            return found
        why = f" ({found.reason})" if found.reason else ""
        reason = f"the paper's claim is about {paper}; on {measured} the rule {MET[found.verdict]}{why}"
        return replace(found, verdict=ELSEWHERE, reason=reason)

    return judged
