"""How one's own rows did: a sentence a row and budget."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from moebench.board import words
from moebench.board.model import Board, Entry, Rung
from moebench.board.numbers import fixed, shown_name, with_interval
from moebench.plans.rows import BASELINE

MOST_NAMES = 5
"""Names in one part of the sentence."""


def verdicts(board: Board, rows: Collection[str]) -> list[tuple[str, str]]:
    """(row, sentence) for the rows of these names that have a score, budget by budget: its score, which ranked rows it
    ties with and which not, its difference from dense, its latency at the suite's batch and at batch 1.
    """
    several = len(board.rungs) > 1
    return [
        (shown_name(entry.variant), f"{f'at {rung.budget:,}: ' if several else ''}{_sentence(board, rung, entry)}")
        for rung in board.rungs
        for entry in rung.entries
        if entry.variant in rows and entry.representation is not None
    ]


def _sentence(board: Board, rung: Rung, entry: Entry) -> str:
    assert entry.representation is not None
    parts = [", ".join([fixed(entry.representation.value), *_standing(rung, entry)])]
    if entry.vs_dense is not None and entry.variant != BASELINE:
        parts.append(f"{with_interval(entry.vs_dense, sign=True)} vs dense")
    if entry.variant != BASELINE:
        parts.append(words.latency_of(board, entry))
    return f"{'; '.join(filter(None, parts))}."


def _standing(rung: Rung, entry: Entry) -> list[str]:
    """Which ranked rows it is significantly better than, worse than, or neither; why it has no rank."""
    if entry.rank is None:
        return [entry.reason.text if entry.reason else "no rank"]
    others = [other for other in rung.entries if other.rank and other.variant != entry.variant]
    better = [other.variant for other in others if other.variant in entry.better_than]
    worse = [other.variant for other in others if entry.variant in other.better_than]
    level = [other.variant for other in others if other.variant not in (*better, *worse)]
    found = [f"significantly better than {listed(better)}"] if better else []
    found += [f"significantly worse than {listed(worse)}"] if worse else []
    found += [f"ties with {listed(level)}"] if level else []
    return found or ["the only ranked row"]


def listed(names: Sequence[str]) -> str:
    """``a, b and c``; of many the first ones, and how many more."""
    shown = [shown_name(name) for name in names[:MOST_NAMES]]
    if len(names) > MOST_NAMES:
        return f"{', '.join(shown)} and {len(names) - MOST_NAMES} more"
    return " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))
