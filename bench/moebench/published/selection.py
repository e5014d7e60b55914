"""What of a suite's results may be published: the rows that are complete, and the plan without the others."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from moebench.board.evidence import Evidence
from moebench.board.reasons import unranked
from moebench.errors import ResultsError
from moebench.planning.latency import latency_cells
from moebench.planning.plan import Lookup, Plan
from moebench.planning.rows import BASELINE, OBJECT, Row
from moebench.runs import Record


@dataclass(frozen=True)
class Selection:
    """plan: of the rows that are published. records: theirs. left_out: (row, reason) of the others."""

    plan: Plan
    records: tuple[Record, ...]
    left_out: tuple[tuple[str, str], ...]


def select(plan: Plan, lookup: Lookup) -> Selection:
    """Choose the rows with a result on every task and budget.

    :class:`ResultsError` where there is nothing to compare, or latency was not measured.
    """
    left_out = {row.name: reason for row in plan.rows if (reason := _why_not(plan, row, lookup))}
    left_out |= {
        row.name: f"it has the size of '{row.active_of}', which is left out."
        for row in plan.rows
        if row.active_of in left_out and row.name not in left_out
    }
    if BASELINE in left_out:
        raise ResultsError(
            f"'{BASELINE}' cannot be published ({left_out[BASELINE].rstrip('.')}), and every row is compared with it; "
            f"run `moebench run {plan.suite.name}` to its end."
        )
    if len(left_out) == len(plan.rows) - 1:
        raise ResultsError(f"no row beside '{BASELINE}' has a result on every task and budget of '{plan.suite.name}'.")
    kept = _without(plan, left_out)
    return Selection(kept, tuple(_records(kept, lookup)), tuple(left_out.items()))


def expected(plan: Plan, lookup: Lookup) -> list[str]:
    """Identities of all runs of a plan: trials, finals of the winners, latency sessions."""
    training = [cell.identity for group in plan.groups for cell in (*group.trial_cells, *group.final_cells(lookup))]
    return list(dict.fromkeys([*training, *(cell.identity for cell in latency_cells(plan, lookup))]))


def _why_not(plan: Plan, row: Row, lookup: Lookup) -> str:
    if row.spec == OBJECT:
        return "it was given as a Python object, which nobody else has; put it into a file or a package."
    for budget in plan.suite.budgets:
        evidence = Evidence.of(plan, row, budget, lookup)
        if not evidence.complete:
            return unranked(evidence, plan.suite.axis)
    return ""


def _without(plan: Plan, names: dict[str, str]) -> Plan:
    """The plan of the other rows, none of them with a trace of the machine's files."""
    rows = tuple(dataclasses.replace(row, selected=True) for row in plan.rows if row.name not in names)
    suite = plan.suite.model_copy(
        update={
            "variants": [row.spec for row in rows if not row.reference],
            "reference": [each for each in plan.suite.reference if each.name not in names],
            "space": {name: values for name, values in plan.suite.space.items() if name in {r.variant for r in rows}},
        }
    )
    groups = tuple(group for group in plan.groups if group.row not in names)
    return dataclasses.replace(plan, suite=suite, rows=rows, groups=groups, data=None)


def _records(plan: Plan, lookup: Lookup) -> list[Record]:
    found = {identity: lookup(identity) for identity in expected(plan, lookup)}
    sessions = {cell.identity: cell.task for cell in latency_cells(plan, lookup)}
    for identity, task in sessions.items():
        record = found[identity]
        if record is None or not record.settled:
            raise ResultsError(
                f"latency on '{task}' was not measured for exactly the rows that can be published; run "
                f"`moebench run {plan.suite.name}` again, with the same --variant options if there were any."
            )
    return [record for record in found.values() if record is not None]
