"""Latency of the rows, read from the sessions that measured all of them in turns on one device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import median
from typing import Any

from moebench.board.evidence import first_reason
from moebench.board.model import Estimate, Timing
from moebench.board.reasons import Reason
from moebench.board.rules import LEVEL
from moebench.plans.latency import finalist, latency_cells
from moebench.plans.plan import Group, Lookup, Plan
from moebench.plans.rows import BASELINE
from moebench.statistics import median_interval, ratio_interval, trend_p_value
from moebench.tasks import get_task

FORWARD = "forward_ms"
FORWARD_BATCH1 = "forward_batch1_ms"

UNTRAINED = ("none", "initial")
"""Weights of a finalist whose trained ones were not kept; earlier sessions timed the initial ones."""

DRIFT = 0.001
"""p-value of a trend below which a row's ratio to dense drifts."""

Rounds = tuple[float, ...]


@dataclass(frozen=True)
class LatencySession:
    """One task's session: what was measured of each final run, by identity; empty with a ``reason``."""

    task: str
    finalists: dict[str, dict[str, Any]]
    reason: Reason | None = None

    @property
    def called(self) -> str:
        """The task's own name."""
        return get_task(self.task).info.name


@dataclass(frozen=True)
class Clock:
    """All sessions of one budget, in the order of the tasks, and which run of a row each of them timed."""

    sessions: tuple[LatencySession, ...]
    identities: dict[tuple[str, str], str]

    @classmethod
    def of(cls, plan: Plan, budget: int, lookup: Lookup) -> Clock:
        """Find the sessions of a budget."""
        cells = {cell.task: cell.identity for cell in latency_cells(plan, lookup) if cell.budget == budget}
        sessions = tuple(_session(plan, task, cells.get(task), lookup) for task in plan.suite.task_names)
        groups: list[Group] = [group for group in plan.groups if group.budget == budget]
        return cls(sessions, {(group.row, group.task): finalist(group, lookup) for group in groups})

    def only(self, task: str) -> Clock:
        """The clock of one task."""
        return Clock(tuple(s for s in self.sessions if s.task == task), self.identities)

    def read(self, row: str, name: str = FORWARD) -> tuple[Timing | None, Reason | None]:
        """Milliseconds of a row, or None with the reason; the mean over tasks is taken inside each round."""
        if reason := first_reason({s.called: self._why_not(s, row, name) for s in self.sessions}):
            return None, reason
        own, dense = self.rounds(row, name), self.rounds(BASELINE, name)
        if not own:
            return None, Reason("unequal_rounds")
        interval = median_interval(own, LEVEL)
        ratio = Estimate.of(ratio_interval(own, dense, LEVEL), "ratio") if len(dense) == len(own) else None
        return Timing(interval.value, interval.low, interval.high, "ms", ratio), None

    def rounds(self, row: str, name: str = FORWARD) -> Rounds:
        """Milliseconds of a row round by round, the mean over tasks; empty if a task lacks rounds that another has."""
        rounds_MR = [_rounds(self._result(session, row), name) for session in self.sessions]
        if len({len(rounds) for rounds in rounds_MR}) != 1:
            return ()
        return tuple(sum(times) / len(times) for times in zip(*rounds_MR, strict=True))

    def drifts(self, row: str) -> tuple[tuple[str, float, float], ...]:
        """(task, first third, last third) of the ratio to dense where it has a significant trend over a session's
        rounds, which are not independent then.
        """
        found = []
        for session in self.sessions:
            own, dense = (_rounds(self._result(session, name), FORWARD) for name in (row, BASELINE))
            ratios = [a / b for a, b in zip(own, dense, strict=False)]
            if row != BASELINE and ratios and len(own) == len(dense) and trend_p_value(ratios) < DRIFT:
                third = max(1, len(ratios) // 3)
                found.append((session.called, median(ratios[:third]), median(ratios[-third:])))
        return tuple(found)

    def memory_mib(self, row: str, name: str) -> float | None:
        """The largest over the tasks; None if a session lacks it."""
        found = [self._result(session, row).get(name) for session in self.sessions]
        known = [float(value) for value in found if value is not None]
        return max(known) if known and len(known) == len(found) else None

    def _result(self, session: LatencySession, row: str) -> dict[str, Any]:
        """What a session measured of a row's trained weights; empty where it had none."""
        found = session.finalists.get(self.identities.get((row, session.task), ""), {})
        return {} if found.get("weights") in UNTRAINED else found

    def _why_not(self, session: LatencySession, row: str, name: str) -> Reason | None:
        if not self.identities.get((row, session.task)):
            return Reason("nothing_to_time")
        if session.reason and not session.finalists:
            return session.reason
        if session.finalists.get(self.identities[row, session.task], {}).get("weights") in UNTRAINED:
            return Reason("untrained_weights")
        if not _rounds(self._result(session, row), name):
            return Reason("session_lacks", why=session.reason.text if session.reason else "")
        return None


def _session(plan: Plan, task: str, identity: str | None, lookup: Lookup) -> LatencySession:
    wanted, record = plan.device["name"], lookup(identity) if identity else None
    if record is None:
        return LatencySession(task, {}, Reason("not_timed", device=wanted))
    device = record.provenance.get("device")
    if device != wanted:
        return LatencySession(task, {}, Reason("timed_elsewhere", found=device, device=wanted))
    finalists = record.details.get("finalists", {})
    if record.status != "done" and (why := record.reason.rstrip(".")):
        return LatencySession(task, finalists, Reason("session_failed", text=why))
    return LatencySession(task, finalists, None if finalists else Reason("session_empty"))


def _rounds(result: dict[str, Any], name: str) -> Rounds:
    """One median per round; empty if there are none or one is no time."""
    times: Sequence[Any] = result.get(name) or ()
    good = all(isinstance(time, int | float) and isfinite(time) and time > 0 for time in times)
    return tuple(float(time) for time in times) if good else ()
