"""Latency of two result sets: compared on one device, and refused across devices."""

from __future__ import annotations

from dataclasses import dataclass, field

from moebench.board.latency import Clock
from moebench.board.model import Timing
from moebench.comparison.match import Match
from moebench.published.sources import ResultSet


@dataclass(frozen=True)
class Sides:
    """Clocks of A and of B by budget; without any, the reason why latency is not compared."""

    clocks: dict[int, tuple[Clock, Clock]] = field(default_factory=dict)
    refused: str = ""

    def of(self, found: Match) -> tuple[Timing, Timing] | None:
        """A row's milliseconds in both; None where one has none, or the rows are of another frame.

        The frame holds host, precision, threads and tasks: models of another are other models.
        """
        if not found.comparable or found.budget not in self.clocks:
            return None
        a, b = (clock.read(found.row)[0] for clock in self.clocks[found.budget])
        return (a, b) if a is not None and b is not None else None

    def reason(self, matches: list[Match]) -> str:
        """Why no row has a latency in both, as a sentence; empty where one has, or none is compared."""
        compared = [each for each in matches if each.comparable]
        if self.refused or not compared or any(map(self.of, compared)):
            return self.refused
        first = compared[0]
        whys = [clock.read(first.row)[1] for clock in self.clocks[first.budget]]
        where = ["in both"] if whys[0] == whys[1] else ["in A", "in B"]
        said = [f"{name}: {why}" for name, why in zip(where, whys, strict=False) if why]
        return f"Latency is not compared: {'; '.join(said) or 'no row was measured in both'}"


def latencies(a: ResultSet, b: ResultSet) -> Sides:
    """The clocks of both, if they measured the same thing on one device."""
    if refused := _refused(a, b):
        return Sides(refused=refused)
    budgets = [budget for budget in a.plan.suite.budgets if budget in b.plan.suite.budgets]
    return Sides({budget: (_clock(a, budget), _clock(b, budget)) for budget in budgets})


def _clock(results: ResultSet, budget: int) -> Clock:
    return Clock.of(results.plan, budget, results.lookup)


def _refused(a: ResultSet, b: ResultSet) -> str:
    devices = [results.plan.device["name"] for results in (a, b)]
    if devices[0] != devices[1]:
        return f"Latency is not compared: A was measured on {devices[0]} and B on {devices[1]}"
    batches = [results.plan.suite.latency.batch for results in (a, b)]
    if batches[0] != batches[1]:
        return f"Latency is not compared: A was measured at batch {batches[0]} and B at batch {batches[1]}"
    return ""
