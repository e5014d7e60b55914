"""What a report is about: whose claims, how they are judged, what is drawn."""

from __future__ import annotations

from dataclasses import dataclass

from moebench.reports.claim import Claim
from moebench.reports.plot import Plot
from moebench.reports.table import Tabled
from moebench.reports.verdict import OPEN, Verdict


@dataclass(frozen=True, kw_only=True)
class Report:
    """The content of a report, apart from its numbers.

    name: of the suite that it is of. source: whose claims they are, with the reference. question: a paragraph.
    undecided: what a verdict is called that the numbers leave open. intervals: what is to be said of them beside.
    sized: (part, arms, caption) of the tables of sizes. tables: what else is shown in rows and columns.
    """

    name: str
    source: str
    question: str
    claims: tuple[Claim, ...]
    plots: tuple[Plot, ...]
    undecided: str = OPEN
    intervals: str = ""
    sized: tuple[tuple[str, tuple[str, ...], str], ...] = ()
    tables: tuple[Tabled, ...] = ()

    def called(self, verdict: Verdict) -> str:
        """The verdict in this report's words."""
        return self.undecided if verdict == OPEN else verdict

    @property
    def parts(self) -> tuple[str, ...]:
        """The suites that answer a claim, in the order of the claims."""
        return tuple(dict.fromkeys(claim.part for claim in self.claims))
