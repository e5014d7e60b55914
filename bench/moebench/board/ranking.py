"""Ranks, and the order in which rows are shown."""

from __future__ import annotations

from collections.abc import Sequence

from moebench.board.evidence import Evidence
from moebench.board.model import Entry
from moebench.board.rules import ALPHA
from moebench.board.statistics import rank_intervals


def ranks(evidences: Sequence[Evidence], reasons: dict[str, str]) -> dict[str, tuple[int, int]]:
    """Rank intervals of the rows that have no reason against a rank, by name; no other row plays a part."""
    ranked = {e.row.name: e.scores_SM for e in evidences if not reasons[e.row.name]}
    if not ranked:
        return {}
    higher = evidences[0].studies[0].info.higher_is_better
    return rank_intervals(ranked, higher, ALPHA)


def in_order(entries: Sequence[Entry], higher_is_better: bool = True) -> tuple[Entry, ...]:
    """Ranked rows by rank and score, then the unranked, then reference rows, both in the suite's order."""
    sign = -1 if higher_is_better else 1

    def key(entry: Entry) -> tuple[int, int, float]:
        if entry.rank is not None and entry.representation is not None:
            return (0, entry.rank[0], sign * entry.representation.value)
        return (2 if entry.reference else 1, 0, 0.0)

    return tuple(sorted(entries, key=key))
