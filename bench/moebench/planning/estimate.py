"""How long the missing runs will take: from runs like them, else from a rule of thumb."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass

from moebench.planning.guess import guess_seconds
from moebench.planning.latency import latency_cells
from moebench.planning.plan import Group, Lookup, Plan
from moebench.runs import Cell, is_settled

LATENCY_SECONDS = 20.0

Seen = dict[tuple[str, int, str], float]


@dataclass(frozen=True)
class Tally:
    """Of one group: runs in all and settled; seconds that the missing ones take on one worker; guessed or known."""

    group: Group
    trials: tuple[int, int]
    finals: tuple[int, int]
    seconds: float
    guessed: bool


def tally(plan: Plan, lookup: Lookup) -> list[Tally]:
    """One tally for each group of the selected rows."""
    known = _seen_seconds(plan, lookup)
    return [_of_group(plan, group, lookup, known) for group in plan.selected_groups()]


def missing_latency(plan: Plan, lookup: Lookup) -> int:
    """Latency sessions still to come; those of undecided finals are counted, as they will be needed."""
    tallies = tally(plan, lookup)
    if any(t.trials[0] != t.trials[1] or t.finals[0] != t.finals[1] for t in tallies):
        return len(plan.suite.task) * len(plan.suite.budgets)
    return sum(not is_settled(lookup(cell.identity)) for cell in latency_cells(plan, lookup))


def missing_runs(plan: Plan, lookup: Lookup) -> int:
    """Training runs and latency sessions still to come."""
    groups = tally(plan, lookup)
    return sum(t.trials[0] - t.trials[1] + t.finals[0] - t.finals[1] for t in groups) + missing_latency(plan, lookup)


def _of_group(plan: Plan, group: Group, lookup: Lookup, known: Seen) -> Tally:
    trials = (len(group.shared), sum(is_settled(lookup(cell.identity)) for cell in group.trial_cells))
    finals = (len(group.final_seeds), sum(is_settled(lookup(cell.identity)) for cell in group.final_cells(lookup)))
    trial = known.get((group.task, group.budget, "trial"))
    final = known.get((group.task, group.budget, "final"), trial)  # trained alike, and scored a little longer
    guess = guess_seconds(group.template, group.amount, plan.device["type"])
    each = (guess if trial is None else trial, guess if final is None else final)
    seconds = (trials[0] - trials[1]) * each[0] + (finals[0] - finals[1]) * each[1]
    return Tally(group, trials, finals, seconds, guessed=trial is None)


def _seen_seconds(plan: Plan, lookup: Lookup) -> Seen:
    """Median seconds of the runs there are, by (task, budget, kind)."""
    seen: dict[tuple[str, int, str], list[float]] = defaultdict(list)
    for group in plan.groups:
        cells: tuple[Cell, ...] = (*group.trial_cells, *group.final_cells(lookup))
        for cell in cells:
            record = lookup(cell.identity)
            if record is not None and record.settled and "seconds" in record.provenance:
                seen[group.task, group.budget, cell.kind].append(float(record.provenance["seconds"]))
    return {key: statistics.median(values) for key, values in seen.items()}
