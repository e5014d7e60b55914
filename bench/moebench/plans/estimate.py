"""How much of a plan is missing, and how long that takes: from runs like them, else from a rule of thumb."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Container, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from moebench.plans.latency import latency_cells
from moebench.plans.plan import Group, Lookup, Plan, Work
from moebench.records import is_settled

LATENCY_SECONDS = 20.0

FINALIST_SECONDS = 5.0
"""Of a latency session, for each model: its process starts and builds it."""

Seen = Mapping[Hashable, float]
"""What runs of like length share -> their median seconds."""


@dataclass(frozen=True)
class Tally:
    """Of one group: runs in all and settled; seconds that the missing ones take on one worker; guessed or known."""

    group: Group
    trials: tuple[int, int]
    finals: tuple[int, int]
    seconds: float
    guessed: bool

    @property
    def missing(self) -> int:
        """Trials and finals still to come."""
        return self.trials[0] - self.trials[1] + self.finals[0] - self.finals[1]


@dataclass(frozen=True)
class Left:
    """What is still to come.

    runs: training runs, measures and latency sessions. seconds: of those that may share the workers, on one worker.
    alone: of those that need the machine alone. guessed: of the runs, those unlike any that has run, whose time is that
    of other rows or a rule of thumb. unseen: measures of a kind that has not run here, whose time is in neither.
    """

    runs: int
    seconds: float
    alone: float
    guessed: int
    unseen: int

    def on(self, workers: int) -> float:
        """Seconds in all."""
        return self.seconds / workers + self.alone


def left(plan: Plan, lookup: Lookup, elsewhere: Container[str] = ()) -> Left:
    """What is left of a plan, given the records there are. elsewhere: identities that another part runs."""
    seen = _seen_seconds(plan, lookup)
    tallies = [_of_group(plan, group, lookup, seen) for group in plan.selected_groups()]
    sessions = _missing_sessions(plan, lookup, tallies)
    seconds = {True: sessions * LATENCY_SECONDS, False: sum(t.seconds for t in tallies)}
    guessed = sum(t.missing for t in tallies if t.guessed)
    others = {work.cell.identity: work for work in plan.works(lookup) if not _is_tuned(work)}
    missing = [w for name, w in others.items() if name not in elsewhere and not is_settled(lookup(name))]
    unseen = undecided = plan.expected_measures() - sum(work.cell.kind == "derived" for work in plan.works(lookup))
    for work in missing:
        own, *alike = _likes(work)
        known = next((seen[like] for like in (own, *alike) if like in seen), None)
        if known is None and work.cell.kind == "derived":
            unseen += 1
            continue
        guessed += own not in seen
        if known is None:
            known = guess_seconds(work.cell.to_json(), work.cell.budget, work.tokens, plan.device["type"])
        seconds[work.alone] += known
    runs = sum(t.missing for t in tallies) + sessions + len(missing) + undecided
    return Left(runs, seconds[False], seconds[True], guessed, unseen)


def expected_seconds(plan: Plan, lookup: Lookup) -> Callable[[Work], float]:
    """How long a training run or a measure takes, given the records there are; 0 for a measure of a kind that has not
    run here.
    """
    seen = _seen_seconds(plan, lookup)
    groups = {
        cell.identity: group
        for group in plan.selected_groups()
        for cell in (*group.trial_cells, *group.final_cells(lookup))
    }

    def seconds(work: Work) -> float:
        if _is_tuned(work):
            return _of_run(plan, groups[work.cell.identity], work.cell.kind, seen)
        known = next((seen[like] for like in _likes(work) if like in seen), None)
        if known is None and work.trained:
            known = guess_seconds(work.cell.to_json(), work.cell.budget, work.tokens, plan.device["type"])
        return known or 0.0

    return seconds


def for_seeds(plan: Plan, lookup: Lookup, seeds: int) -> Left:
    """What more is to come until the rows that this run works on have so many seeds, all that is planned being done."""
    seen = _seen_seconds(plan, lookup)
    more, seconds = 0, 0.0
    for group in plan.selected_groups():
        extra = max(0, seeds - len(group.final_seeds))
        guess = guess_seconds(group.template, group.amount, group.tokens, plan.device["type"])
        more, seconds = more + extra, seconds + extra * seen.get((group.task, group.budget, "final"), guess)
    sessions = plan.sessions if more else 0
    return Left(more + sessions, seconds, sessions * LATENCY_SECONDS, 0, 0)


def tally(plan: Plan, lookup: Lookup) -> list[Tally]:
    """One tally for each group of the selected rows."""
    seen = _seen_seconds(plan, lookup)
    return [_of_group(plan, group, lookup, seen) for group in plan.selected_groups()]


def _missing_sessions(plan: Plan, lookup: Lookup, tallies: list[Tally]) -> int:
    """Latency sessions still to come; those of undecided finals are counted, as they will be needed."""
    if any(t.missing for t in tallies):
        return plan.sessions
    return sum(not is_settled(lookup(cell.identity)) for cell in latency_cells(plan, lookup))


def _of_group(plan: Plan, group: Group, lookup: Lookup, seen: Seen) -> Tally:
    trials = (len(group.shared), sum(is_settled(lookup(cell.identity)) for cell in group.trial_cells))
    finals = (len(group.final_seeds), sum(is_settled(lookup(cell.identity)) for cell in group.final_cells(lookup)))
    each = tuple(_of_run(plan, group, kind, seen) for kind in ("trial", "final"))
    seconds = (trials[0] - trials[1]) * each[0] + (finals[0] - finals[1]) * each[1]
    return Tally(group, trials, finals, seconds, guessed=(group.task, group.budget, "trial") not in seen)


def _of_run(plan: Plan, group: Group, kind: str, seen: Seen) -> float:
    """Seconds of a trial or a final run: as those of its row took, else those of others; a final as long as a trial of
    as many steps.
    """
    steps = group.template_of(kind)["steps"]
    for like in ((group.row, group.task, group.budget), (group.task, group.budget)):
        if (known := seen.get((*like, kind))) is not None:
            return known
        if kind == "final" and (trial := seen.get((*like, "trial"))) is not None:
            return trial * float(steps / group.template_of("trial")["steps"])
    return guess_seconds(group.template_of(kind), group.amount, group.tokens, plan.device["type"])


def _is_tuned(work: Work) -> bool:
    """Whether it is a trial or a final of the board."""
    return work.ranked and work.cell.kind != "derived"


def _likes(work: Work) -> tuple[Hashable, ...]:
    """What runs of like length share, the most alike first: the row, then the task and the number of steps."""
    measure = work.cell.session.get("measure", "")
    return (measure, work.row), (measure, work.cell.task, work.cell.steps)


def _seen_seconds(plan: Plan, lookup: Lookup) -> Seen:
    """Median seconds of the runs there are; of the board by (task, budget, kind), also of each row, of the others by
    what they share.
    """
    seen: dict[Hashable, list[float]] = defaultdict(list)

    def see(identity: str, *likes: Hashable) -> None:
        record = lookup(identity)
        if record is not None and record.settled and "seconds" in record.provenance:
            for like in likes:
                seen[like].append(float(record.provenance["seconds"]))

    for group in plan.groups:
        for cell in (*group.trial_cells, *group.final_cells(lookup)):
            like = (group.task, group.budget, cell.kind)
            see(cell.identity, like, (group.row, *like))
    for work in plan.works(lookup):
        if not _is_tuned(work):
            see(work.cell.identity, *_likes(work))
    return {like: statistics.median(values) for like, values in seen.items()}


def longest_guess(plan: Plan) -> float:
    """Seconds of the longest training run of a plan by :func:`guess_seconds` alone: what ran beside others took longer
    than it takes.
    """
    device = plan.device["type"]
    tuned = [guess_seconds(g.template, g.amount, g.tokens, device) for g in plan.selected_groups()]
    fixed = [guess_seconds(w.cell.to_json(), w.cell.budget, w.tokens, device) for w in plan.fixed]
    return max((*tuned, *fixed), default=0.0)


# Seconds a layer and step, and FLOP/s while training: of small models on a laptop's core; on a GPU reckoned from the
# kernels that a step starts and from published rates, until it is measured.
OVERHEAD = {"cpu": 0.004, "cuda": 9e-4}
THROUGHPUT = {"cpu": 8e10, "cuda": 1.5e14}
START_SECONDS = 2.0

ATTENTION_COST = 3
"""Times as long as a large product with as many operations: attention, norms and residuals of a block."""


def guess_seconds(cell: Mapping[str, Any], amount: float, tokens: int, device: str) -> float:
    """Seconds of one run: a fixed cost a step and layer, and 3 x 2 FLOPs a parameter and token, attention included.

    cell: the values of the run's cell that all runs like it share. amount: its budget. tokens: T of a layer; 0 in plans
    of earlier versions. device: its type.
    """
    kind, host = "cuda" if device == "cuda" else "cpu", cell["host"]
    parameters = amount if cell["axis"] != "flops" else amount / (2 * max(1, tokens))
    if {"heads", "depth", "dim"} <= host.keys():
        parameters += ATTENTION_COST * host["depth"] * (4 * host["dim"] ** 2 + 2 * tokens * host["dim"])
    flops = float(cell["steps"] * cell["batch"] * 6 * parameters * tokens)
    steps = float(cell["steps"] * host.get("depth", 1))
    return START_SECONDS + steps * OVERHEAD[kind] + flops / THROUGHPUT[kind]
