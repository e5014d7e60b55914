"""Ranks, and the order in which rows are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from moebench.board.evidence import Evidence
from moebench.board.model import Entry
from moebench.board.rules import ALPHA
from moebench.board.statistics import better_matrix, ranks_of


@dataclass(frozen=True)
class Told:
    """The rows that have no reason against a rank, and better_NN: which of them is clearly better than which."""

    names: tuple[str, ...]
    better_NN: NDArray[np.bool_]

    @property
    def ranks(self) -> dict[str, tuple[int, int]]:
        """Rank intervals by name."""
        return dict(zip(self.names, ranks_of(self.better_NN), strict=True))

    def better_than(self, name: str) -> tuple[str, ...]:
        """The rows that the one of this name is clearly better than, by name; none where it may have no rank."""
        if name not in self.names:
            return ()
        return tuple(sorted(compress(self.names, self.better_NN[self.names.index(name)].tolist())))


def told_apart(evidences: Sequence[Evidence], reasons: dict[str, str]) -> Told:
    """Compare all rows that may be ranked, in pairs; no other row plays a part."""
    ranked = {e.row.name: e.scores_SM for e in evidences if not reasons[e.row.name]}
    higher = evidences[0].studies[0].headline.higher_is_better
    return Told(tuple(ranked), better_matrix(ranked, higher, ALPHA))


def in_order(entries: Sequence[Entry], higher_is_better: bool = True) -> tuple[Entry, ...]:
    """Ranked rows by rank and score, then the unranked, then reference rows, both in the suite's order."""
    sign = -1 if higher_is_better else 1

    def key(entry: Entry) -> tuple[int, int, float]:
        if entry.rank is not None and entry.representation is not None:
            return (0, entry.rank[0], sign * entry.representation.value)
        return (2 if entry.reference else 1, 0, 0.0)

    return tuple(sorted(entries, key=key))
