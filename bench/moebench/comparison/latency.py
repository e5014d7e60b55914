"""Latency of two result sets: compared on one device, and refused across devices."""

from __future__ import annotations

from dataclasses import dataclass, field

from moebench.board.latency import Clock
from moebench.board.model import Timing
from moebench.published.sources import ResultSet

SAME = ("precision", "threads")


@dataclass(frozen=True)
class Sides:
    """Clocks of A and of B by budget; without any, the reason why latency is not compared."""

    clocks: dict[int, tuple[Clock, Clock]] = field(default_factory=dict)
    reason: str = ""

    def of(self, row: str, budget: int) -> tuple[Timing, Timing] | None:
        """A row's milliseconds in both; None where one has none."""
        if budget not in self.clocks:
            return None
        a, b = (clock.read(row)[0] for clock in self.clocks[budget])
        return (a, b) if a is not None and b is not None else None


def latencies(a: ResultSet, b: ResultSet) -> Sides:
    """The clocks of both, if they measured the same thing on one device."""
    if reason := _apart(a, b):
        return Sides(reason=reason)
    budgets = [budget for budget in a.plan.suite.budgets if budget in b.plan.suite.budgets]
    return Sides({budget: (_clock(a, budget), _clock(b, budget)) for budget in budgets})


def _clock(results: ResultSet, budget: int) -> Clock:
    return Clock.of(results.plan, budget, results.lookup)


def _apart(a: ResultSet, b: ResultSet) -> str:
    devices = [results.plan.device["name"] for results in (a, b)]
    if devices[0] != devices[1]:
        return f"Latency is not compared: A was measured on {devices[0]} and B on {devices[1]}"
    batches = [results.plan.suite.latency.batch for results in (a, b)]
    if batches[0] != batches[1]:
        return f"Latency is not compared: A was measured at batch {batches[0]} and B at batch {batches[1]}"
    for name in SAME:
        values = [{group.template[name] for group in results.plan.groups} for results in (a, b)]
        if values[0] != values[1]:
            said = [", ".join(map(str, sorted(value))) for value in values]
            return f"Latency is not compared: A was measured with {name} {said[0]} and B with {said[1]}"
    return ""
