"""What a report is about: whose claims, how they are judged, what is drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from moebench.studies.claim import OPEN, Claim, Verdict
from moebench.studies.evidence import Evidence
from moebench.studies.plot import Plot


@dataclass(frozen=True, kw_only=True)
class Study:
    """The content of a report without its numbers.

    name: of its suite. source: whose claims they are, with the reference. question: a paragraph. undecided: the word
    for an undecided verdict. intervals: an addition to the sentence about them. sized: (part, rows, caption) of the
    tables of sizes. tables: what else is shown in rows and columns. arrays: names of those that plots are drawn from;
    reports and packs have them of the first seed.
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
    arrays: tuple[str, ...] = ()

    def called(self, verdict: Verdict) -> str:
        """The verdict in this report's words."""
        return self.undecided if verdict == OPEN else verdict

    @property
    def parts(self) -> tuple[str, ...]:
        """The suites that answer a claim, in the order of the claims."""
        return tuple(dict.fromkeys(claim.part for claim in self.claims))


@dataclass(frozen=True, kw_only=True)
class Table:
    """name: of its place on the page. rows: texts, the first of each its head."""

    name: str
    title: str
    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Tabled = Callable[[Evidence], Table | None]
"""None where nothing of it has run."""


def tables_of(tabled: Iterable[Tabled], evidence: Evidence) -> list[Table]:
    """Those of which there are runs."""
    return [table for each in tabled if (table := each(evidence)) is not None]
