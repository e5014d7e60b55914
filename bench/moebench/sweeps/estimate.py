"""How much of a sweep is missing, and how long that takes: from runs like them, else from a rule of thumb."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Container, Hashable
from dataclasses import dataclass

from moebench.planning.guess import guess_seconds
from moebench.planning.plan import Lookup, Work
from moebench.runs import is_settled
from moebench.sweeps.plan import SweepPlan


@dataclass(frozen=True)
class Left:
    """What is still to come.

    runs: training runs and measures. seconds: of those that may share the workers, on one worker. alone: of those that
    run by themselves. guessed: of them, those of a row that has not run, whose time is that of other rows or a rule of
    thumb. unseen: measures of a kind that has not run here, whose time is in none of the two.
    """

    runs: int
    seconds: float
    alone: float
    guessed: int
    unseen: int

    def on(self, workers: int) -> float:
        """Seconds in all."""
        return self.seconds / workers + self.alone


def left(plan: SweepPlan, lookup: Lookup, elsewhere: Container[str] = ()) -> Left:
    """What is left of a sweep, given the records there are. elsewhere: identities that another part runs."""
    seen = _seen_seconds(plan, lookup)
    by_itself = {work.cell.identity for work in plan.alone}
    seconds = {True: 0.0, False: 0.0}
    identities = {work.cell.identity: work for work in plan.works}
    missing = [w for name, w in identities.items() if name not in elsewhere and not is_settled(lookup(name))]
    guessed = unseen = 0
    for work in missing:
        row, alike = _likes(work)
        known = seen.get(row, seen.get(alike))
        if known is None and work.cell.kind == "derived":
            unseen += 1
            continue
        guessed += row not in seen
        if known is None:
            known = guess_seconds(work.cell.to_json(), work.cell.budget, plan.device["type"])
        seconds[work.cell.identity in by_itself] += known
    return Left(len(missing), seconds[False], seconds[True], guessed, unseen)


def _likes(work: Work) -> tuple[Hashable, Hashable]:
    """What runs of like length share, the most alike first: the row, then the task and the number of steps."""
    measure = work.cell.session.get("measure", "")
    return (measure, work.row), (measure, work.cell.task, work.cell.steps)


def _seen_seconds(plan: SweepPlan, lookup: Lookup) -> dict[Hashable, float]:
    """Median seconds of the runs there are."""
    seen: dict[Hashable, list[float]] = defaultdict(list)
    for work in plan.works:
        record = lookup(work.cell.identity)
        if record is not None and record.settled and "seconds" in record.provenance:
            for like in _likes(work):
                seen[like].append(float(record.provenance["seconds"]))
    return {like: statistics.median(values) for like, values in seen.items()}
