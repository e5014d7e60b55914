"""The engineer's question: which row is the best of those that meet limits on latency and size, and how sure is it?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from moebench.board.limits import Limits
from moebench.board.model import Entry, Measure, Rung
from moebench.board.rules import ALPHA, LEVEL
from moebench.board.scores import measure
from moebench.board.statistics import holm, paired_interval, paired_test, rank_intervals


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A row that meets the limits. unsure: why it may not after all, or empty. rank: among these rows; None for a
    reference row.

    behind: its score less that of the first, paired by seed; None for the first. p_value: of no difference from the
    first, adjusted by Holm's rule over all pairs of these rows, so that it tells apart what the ranks do.
    """

    entry: Entry
    unsure: str
    rank: tuple[int, int] | None
    behind: Measure | None = None
    p_value: float | None = None


@dataclass(frozen=True, kw_only=True)
class Excluded:
    """A row that does not meet the limits. sure: whether the interval of its latency says so, too."""

    entry: Entry
    reason: str
    sure: bool


@dataclass(frozen=True, kw_only=True)
class Choice:
    """At one budget: the rows that meet the limits, best first, then reference rows; the others with the reason."""

    budget: int
    limits: Limits
    chosen: tuple[Chosen, ...]
    excluded: tuple[Excluded, ...]


def choose(rung: Rung, limits: Limits, higher_is_better: bool) -> Choice:
    """Choose among the rows of a budget; ranks are made anew among those that meet the limits."""
    verdicts = [(entry, limits.verdict(entry)) for entry in rung.entries]
    meeting = [(entry, verdict.reason) for entry, verdict in verdicts if verdict.met]
    ranked = sorted(
        (each for each in meeting if each[0].rank), key=lambda each: _value(each[0]), reverse=higher_is_better
    )
    references = [each for each in meeting if not each[0].rank]
    return Choice(
        budget=rung.budget,
        limits=limits,
        chosen=(
            *_compared(ranked, higher_is_better),
            *(Chosen(entry=entry, unsure=unsure, rank=None) for entry, unsure in references),
        ),
        excluded=tuple(
            Excluded(entry=entry, reason=verdict.reason, sure=verdict.sure)
            for entry, verdict in verdicts
            if not verdict.met
        ),
    )


def _compared(ranked: Sequence[tuple[Entry, str]], higher: bool) -> list[Chosen]:
    if not ranked:
        return []
    scores = [_scores_SM(entry) for entry, _ in ranked]
    places = list(rank_intervals({str(n): each for n, each in enumerate(scores)}, higher, ALPHA).values())
    adjusted = holm([paired_test(b, a).p_value for a, b in combinations(scores, 2)])
    first, others = scores[0], scores[1:]
    unit = ranked[0][0].tasks[0].unit
    behind = [measure(paired_interval(each, first, LEVEL), unit) for each in others]
    return [
        Chosen(entry=entry, unsure=unsure, rank=rank, behind=less, p_value=p)
        for (entry, unsure), rank, less, p in zip(
            ranked, places, [None, *behind], [None, *adjusted[: len(others)]], strict=True
        )
    ]


def _scores_SM(entry: Entry) -> list[list[float]]:
    return [list(seed) for seed in zip(*(task.seeds for task in entry.tasks), strict=True)]


def _value(entry: Entry) -> float:
    return entry.representation.value if entry.representation else float("nan")
