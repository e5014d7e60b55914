"""The engineer's question: which row is the best of those that meet limits on latency and size, and how sure is it?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from moebench.board.model import Entry, Measure, Rung
from moebench.board.rules import ALPHA, LEVEL
from moebench.board.scores import measure
from moebench.board.statistics import holm, paired_interval, paired_test, rank_intervals


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a row must meet: its latency as a ratio to dense, its active parameters. None: no limit."""

    latency_ratio: float | None = None
    active: int | None = None

    @property
    def words(self) -> str:
        """``latency at most 0.8x dense, at most 100,000 active parameters``."""
        parts = [] if self.latency_ratio is None else [f"latency at most {self.latency_ratio:g}x dense"]
        parts += [] if self.active is None else [f"at most {self.active:,} active parameters"]
        return ", ".join(parts)

    def broken_by(self, entry: Entry) -> str:
        """Why a row does not meet them; empty if it does, by the value of its latency."""
        ratio = entry.latency.ratio_to_dense if entry.latency else None
        if entry.representation is None:
            return entry.representation_reason or "it has no score"
        if self.latency_ratio is not None and ratio is None:
            return f"its latency is not known: {entry.latency_reason or 'it has no ratio to dense'}"
        if self.latency_ratio is not None and ratio is not None and ratio.value > self.latency_ratio:
            return f"its latency is {ratio.value:.2f}x dense"
        if self.active is not None and entry.counts is None:
            return "its active parameters are not known"
        if self.active is not None and entry.counts and entry.counts.active_params > self.active:
            return f"it has {entry.counts.active_params:,} active parameters"
        return ""

    def surely_met(self, entry: Entry) -> bool:
        """Whether the whole interval of a row's latency meets them, and not its value alone."""
        ratio = entry.latency.ratio_to_dense if entry.latency else None
        if self.latency_ratio is None:
            return True
        return ratio is not None and ratio.high is not None and ratio.high <= self.latency_ratio


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A row that meets the limits. rank: among these rows; None for a reference row.

    behind: its score less that of the first, paired by seed; None for the first. p_value: of no difference from the
    first, adjusted by Holm's rule over all pairs of these rows, so that it tells apart what the ranks do.
    """

    entry: Entry
    sure: bool
    rank: tuple[int, int] | None
    behind: Measure | None = None
    p_value: float | None = None


@dataclass(frozen=True, kw_only=True)
class Choice:
    """At one budget: the rows that meet the limits, best first, then reference rows; the others with the reason."""

    budget: int
    limits: Limits
    chosen: tuple[Chosen, ...]
    excluded: tuple[tuple[str, str], ...]


def choose(rung: Rung, limits: Limits, higher_is_better: bool) -> Choice:
    """Choose among the rows of a budget; ranks are made anew among those that meet the limits."""
    broken = [(entry, limits.broken_by(entry)) for entry in rung.entries]
    meeting = [entry for entry, reason in broken if not reason]
    ranked = sorted((entry for entry in meeting if entry.rank), key=_value, reverse=higher_is_better)
    references = [entry for entry in meeting if not entry.rank]
    return Choice(
        budget=rung.budget,
        limits=limits,
        chosen=(
            *_compared(ranked, limits, higher_is_better),
            *(Chosen(entry=entry, sure=limits.surely_met(entry), rank=None) for entry in references),
        ),
        excluded=tuple((entry.variant, reason) for entry, reason in broken if reason),
    )


def _compared(ranked: Sequence[Entry], limits: Limits, higher: bool) -> list[Chosen]:
    if not ranked:
        return []
    scores = [_scores_SM(entry) for entry in ranked]
    places = list(rank_intervals({str(n): each for n, each in enumerate(scores)}, higher, ALPHA).values())
    adjusted = holm([paired_test(b, a).p_value for a, b in combinations(scores, 2)])
    first, others = scores[0], scores[1:]
    unit = ranked[0].tasks[0].unit
    behind = [measure(paired_interval(each, first, LEVEL), unit) for each in others]
    return [
        Chosen(entry=entry, sure=limits.surely_met(entry), rank=rank, behind=less, p_value=p)
        for entry, rank, less, p in zip(ranked, places, [None, *behind], [None, *adjusted[: len(others)]], strict=True)
    ]


def _scores_SM(entry: Entry) -> list[list[float]]:
    return [list(seed) for seed in zip(*(task.seeds for task in entry.tasks), strict=True)]


def _value(entry: Entry) -> float:
    return entry.representation.value if entry.representation else float("nan")
