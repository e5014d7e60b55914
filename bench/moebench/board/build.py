"""A board from a plan and its records: nothing else is looked at, so equal records give an equal board."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import replace

from moebench.board.calibrated import calibration
from moebench.board.entry import make_entry
from moebench.board.evidence import Evidence
from moebench.board.front import front_places
from moebench.board.held_equal import task_notes
from moebench.board.latency import Clock
from moebench.board.model import Board, Entry, Rung
from moebench.board.provenance import versions
from moebench.board.ranking import Told, in_order, told_apart
from moebench.board.reasons import unranked
from moebench.board.references import against_references
from moebench.board.statistics import Place
from moebench.board.strangers import strangers
from moebench.planning.plan import Lookup, Plan
from moebench.planning.rows import BASELINE
from moebench.runs import Record

Others = Callable[[Container[str]], Iterable[Record]]
"""Final runs of the suite beside those with the identities that are known already, as ``Store.finals_of`` has them."""


def build_board(plan: Plan, lookup: Lookup, others: Others = lambda known: ()) -> Board:
    """The board of a plan. ``lookup`` (as ``Store.get``) is asked once for each run.

    others: among them those of another protocol, budget or training are named.
    """
    known: dict[str, Record | None] = {}

    def seen(identity: str) -> Record | None:
        if identity not in known:
            known[identity] = lookup(identity)
        return known[identity]

    suite = plan.suite
    gathered = {budget: [Evidence.of(plan, row, budget, seen) for row in plan.rows] for budget in suite.budgets}
    rungs = tuple(_rung(plan, budget, evidences, seen) for budget, evidences in gathered.items())
    return Board(
        suite=suite.name,
        title=suite.title,
        protocol=plan.protocol,
        axis=suite.axis,
        device=plan.device["name"],
        seeds=suite.seeds,
        trials=suite.tuning.trials,
        sampler=suite.tuning.sampler,
        latency_batch=suite.latency.batch,
        latency_rounds=suite.latency.rounds,
        tasks=task_notes(plan),
        rungs=rungs,
        versions=versions(_records([e for evidences in gathered.values() for e in evidences])),
        calibration=calibration(gathered[suite.budgets[0]], suite.seeds, rungs),
        strangers=strangers(plan, others(known)),
    )


def _rung(plan: Plan, budget: int, evidences: list[Evidence], lookup: Lookup) -> Rung:
    clock = Clock.of(plan, budget, lookup)
    reasons = {e.row.name: unranked(e, plan.suite.axis) for e in evidences}
    told = told_apart(evidences, reasons)
    by_rank = told.ranks
    dense = next((e for e in evidences if e.row.name == BASELINE and not reasons[BASELINE]), None)
    entries = [
        make_entry(
            plan,
            budget,
            evidence,
            clock,
            dense=dense,
            rank=by_rank.get(evidence.row.name),
            reason=reasons[evidence.row.name],
        )
        for evidence in evidences
    ]
    higher = evidences[0].studies[0].headline.higher_is_better
    places = front_places(told, entries, clock)
    return Rung(
        budget,
        in_order([_placed(entry, told, places) for entry in entries], higher),
        against_references(evidences, reasons, higher),
    )


def _placed(entry: Entry, told: Told, places: Mapping[str, Place]) -> Entry:
    return replace(entry, better_than=told.better_than(entry.variant), pareto=places.get(entry.variant))


def _records(evidences: list[Evidence]) -> list[Record]:
    runs = [run for evidence in evidences for study in evidence.studies for run in study.runs]
    return [run.record for run in runs if run.record is not None]
