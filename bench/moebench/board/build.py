"""A board from a plan and its records: nothing else is looked at, so equal records give an equal board."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import replace

from moebench.board.estimates import versions
from moebench.board.evidence import Evidence
from moebench.board.latency import Clock
from moebench.board.model import Board, Rung
from moebench.board.ranking import against_references, calibration, in_order, on_pareto, rank_rows
from moebench.board.row import make_entry
from moebench.board.settings import other_runs, task_notes
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
        trials=suite.tuned.trials,
        sampler=suite.tuned.sampler,
        latency_batch=suite.latency.batch,
        latency_rounds=suite.latency.rounds,
        tasks=task_notes(plan),
        rungs=rungs,
        versions=versions(_records([e for evidences in gathered.values() for e in evidences])),
        calibration=calibration(gathered[suite.budgets[0]], suite.seeds, rungs),
        other_runs=other_runs(plan, others(known)),
    )


def _rung(plan: Plan, budget: int, evidences: list[Evidence], lookup: Lookup) -> Rung:
    clock = Clock.of(plan, budget, lookup)
    reasons = {e.row.name: e.unranked(plan.suite.axis) for e in evidences}
    ranking = rank_rows(evidences, reasons)
    ranks = ranking.ranks
    dense = next((e for e in evidences if e.row.name == BASELINE and not reasons[BASELINE]), None)
    entries = [
        make_entry(
            plan,
            budget,
            evidence,
            clock,
            dense=dense,
            rank=ranks.get(evidence.row.name),
            reason=reasons[evidence.row.name],
        )
        for evidence in evidences
    ]
    higher = evidences[0].higher_is_better
    places = on_pareto(ranking, entries, clock)
    placed = [
        replace(each, better_than=ranking.better_than(each.variant), pareto=places.get(each.variant))
        for each in entries
    ]
    return Rung(budget, in_order(placed, higher), against_references(evidences, reasons, higher))


def _records(evidences: list[Evidence]) -> list[Record]:
    runs = [run for evidence in evidences for study in evidence.studies for run in study.runs]
    return [run.record for run in runs if run.record is not None]
