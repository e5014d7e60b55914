"""The latency session of a task: one cell that measures every finalist in turns, after all training."""

from __future__ import annotations

from moebench.plans.plan import Group, Lookup, Plan
from moebench.records import Cell


def latency_cells(plan: Plan, lookup: Lookup) -> list[Cell]:
    """One session per task and budget, of all rows whose finals are done; a new row makes a new one of all."""
    cells = []
    for task in plan.suite.task_names:
        for budget in plan.suite.budgets:
            groups = [group for group in plan.groups if (group.task, group.budget) == (task, budget)]
            # Two rows may share their runs, as a variant and a reference of the same size do.
            found = dict.fromkeys(identity for group in groups if (identity := finalist(group, lookup)))
            if found:
                cells.append(_session(plan, groups[0], budget, list(found)))
    return cells


def finalist(group: Group, lookup: Lookup) -> str:
    """The identity of the run whose weights are timed: the first final seed that is done; empty if none."""
    records = group.finals(lookup) or ()
    return next((record.identity for record in records if record.status == "done"), "")


def _session(plan: Plan, group: Group, budget: int, finalists: list[str]) -> Cell:
    latency = plan.suite.latency
    template = group.template | {
        "axis": plan.suite.axis,
        "budget": budget,
        "variant": "",
        "code_digest": "",
        "batch": latency.batch,
    }
    session = {
        "finalists": finalists,
        "device": plan.device["name"],
        "versions": plan.versions,
        "backend": plan.backend or "auto",
        "rounds": latency.rounds,
        "repeats": latency.repeats,
    }
    return Cell(kind="latency", settings={}, seed=0, session=session, **template)
