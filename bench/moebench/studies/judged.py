"""Every claim with its finding, as plain values."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from moebench.board.numbers import bounds, fixed
from moebench.errors import PluginError
from moebench.studies.claim import ELSEWHERE, FAILS, HOLDS, OPEN, Claim, Finding, Item, SeededEstimate, Unit
from moebench.studies.evidence import Evidence
from moebench.studies.study import Study
from moebench.text import counted_noun, told

PLACES: Mapping[Unit, int] = {"count": 2, "slope": 4, "rank correlation": 2}
"""Digits after the point; 3 by default."""

LAST = (OPEN, ELSEWHERE)
"""Verdicts that are none; the second is counted where there is one."""

SIGNED: tuple[Unit, ...] = ("difference", "MSE", "slope", "rank correlation")


@dataclass(frozen=True)
class Judged:
    """A claim and what came of it."""

    report: Study
    claim: Claim
    finding: Finding

    @property
    def verdict(self) -> str:
        """In the report's words."""
        return self.report.called(self.finding.verdict)

    @property
    def number(self) -> str:
        """The number that decides, with its interval; how many where things are counted."""
        decides = self.finding.decides
        if decides is None or decides.estimate is None:
            return "-"
        return decides.note if self.claim.unit == "count" else self.show(decides.estimate)

    def show(self, estimate: SeededEstimate | None) -> str:
        """``+0.312, 0.290 to 0.334``."""
        if estimate is None:
            return "-"
        places = PLACES.get(self.claim.unit, 3)
        value = fixed(estimate.value, places, sign=self.claim.unit in SIGNED)
        return ", ".join(filter(None, (value, bounds(estimate, places))))


def judge(report: Study, evidence: Evidence) -> list[Judged]:
    """The report's claims about the parts that there are, judged; :class:`PluginError` where one cannot be."""
    parts = {part.name for part in evidence.parts}
    return [Judged(report, claim, _finding(claim, evidence)) for claim in report.claims if claim.part in parts]


def _finding(claim: Claim, evidence: Evidence) -> Finding:
    try:
        found = claim.judge(evidence)
        if not isinstance(found, Finding):
            raise TypeError(f"judge() gave {type(found).__name__}, not a Finding")
        return found
    except Exception as error:  # the study's author's
        raise PluginError(
            f"the claim '{claim.key}' could not be judged: {told(error)}.",
            code="claim-raised",
            claim=claim.key,
        ) from error


def tally(report: Study, rows: list[Judged]) -> str:
    """How many claims have which verdict: of the published, and in a second sentence of those asked beside them."""
    papers = [row for row in rows if row.claim.source == "paper"]
    ours = [row for row in rows if row.claim.source == "extension"]
    if not papers or not ours:
        return _counted(report, counted_noun(len(rows), "claim"), rows)
    published, extensions = counted_noun(len(papers), "published claim"), counted_noun(len(ours), "extension")
    return f"{_counted(report, published, papers)} {_counted(report, f'{extensions} asked here', ours)}"


def _counted(report: Study, which: str, rows: list[Judged]) -> str:
    count = Counter(row.finding.verdict for row in rows)
    parts = [
        f"{count[HOLDS]} hold{'s' * (count[HOLDS] == 1)}",
        f"{count[FAILS]} {'does' if count[FAILS] == 1 else 'do'} not hold",
        *(f"{count[verdict]} {'is' if count[verdict] == 1 else 'are'} {report.called(verdict)}" for verdict in LAST),
    ]
    shown = parts if count[ELSEWHERE] else parts[:-1]
    return f"Of {which} {', '.join(shown[:-1])}, and {shown[-1]}."


def to_json(evidence: Evidence, rows: list[Judged]) -> str:
    """The claims in full precision."""
    value = {
        "suite": evidence.name,
        "title": evidence.title,
        "parts": {
            part.name: {"full": part.full, "seeds": part.seeds, "done": len(part.runs), "missing": len(part.missing)}
            for part in evidence.parts
        },
        "claims": [_row(row) for row in rows],
    }
    return json.dumps(value, indent=1) + "\n"


def _row(row: Judged) -> dict[str, Any]:
    claim, finding = row.claim, row.finding
    fields = ("key", "source", "part", "statement", "paper", "here", "rule", "unit")
    return {
        **{name: getattr(claim, name) for name in fields},
        "verdict": row.verdict,
        "reason": finding.reason,
        "decides": _item(row.report, finding.decides) if finding.decides else None,
        "items": [_item(row.report, item) for item in finding.items],
    }


def _finite(value: float | None) -> float | None:
    """None where there is no end."""
    return value if value is not None and isfinite(value) else None


def _item(report: Study, item: Item) -> dict[str, Any]:
    return {
        "what": item.what,
        **{name: _finite(getattr(item.estimate, name, None)) for name in ("value", "low", "high")},
        "level": item.estimate.level if item.estimate else None,
        "seeds": item.estimate.seeds if item.estimate else 0,
        "verdict": report.called(item.verdict),
        "reason": item.reason,
        "note": item.note,
    }
