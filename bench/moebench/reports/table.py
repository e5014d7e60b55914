"""Tables of a report beside its claims and sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from moebench.reports.evidence import Evidence


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
