"""Rows of two result sets, matched by cell: the same frame, and the seeds that both have."""

from __future__ import annotations

from dataclasses import dataclass

from moebench.board.evidence import Evidence, Study
from moebench.board.reasons import unranked
from moebench.comparison.frame import apart
from moebench.planning.rows import Row
from moebench.published.sources import ResultSet

Matrix = list[list[float]]


@dataclass(frozen=True, kw_only=True)
class Match:
    """A row at a budget in both sets; ``a`` and ``b`` are None where it has no result on every seed and task.

    a_SM, b_SM: scores of the S seeds that both have, on M tasks; None where they cannot be compared, for the reason.
    comparable: whether the frame is the same. identical: whether the cells and their scores are.
    """

    row: str
    budget: int
    a: Evidence | None = None
    b: Evidence | None = None
    a_SM: Matrix | None = None
    b_SM: Matrix | None = None
    comparable: bool = False
    identical: bool = False
    reason: str = ""


def match(a: ResultSet, b: ResultSet) -> list[Match]:
    """Every row of either set at every budget of either, those of A first, each in its suite's order.

    Rows of which nothing ran in either are left out.
    """
    rows = list(dict.fromkeys(row.name for plan in (a.plan, b.plan) for row in plan.rows))
    budgets = list(dict.fromkeys(budget for plan in (a.plan, b.plan) for budget in plan.suite.budgets))
    found = [_match(a, b, row, budget) for budget in budgets for row in rows]
    return [each for each in found if each is not None]


def _match(a: ResultSet, b: ResultSet, row: str, budget: int) -> Match | None:
    of_a, of_b = _evidence(a, row, budget), _evidence(b, row, budget)
    if not any(map(_ran, (of_a, of_b))):
        return None
    if of_a is None or of_b is None or not of_a.complete or not of_b.complete:
        whys = (_why_not("A", a, of_a, budget), _why_not("B", b, of_b, budget))
        return Match(row=row, budget=budget, a=_complete(of_a), b=_complete(of_b), reason="; ".join(filter(None, whys)))
    if reason := apart(a.plan, b.plan, of_a, of_b):
        return Match(row=row, budget=budget, a=of_a, b=of_b, reason=reason)
    return _paired(row, budget, of_a, of_b)


def _paired(row: str, budget: int, a: Evidence, b: Evidence) -> Match:
    """Two complete rows of one frame, by the seeds that all tasks have in both."""
    others = {study.info.name: study for study in b.studies}
    sides = [(_by_seed(study), _by_seed(others[study.info.name])) for study in a.studies]
    # A row of the matrix is one training seed's index, whose number differs from task to task.
    shared = [[seed for seed in of_a if seed in of_b] for of_a, of_b in sides]
    if len({len(seeds) for seeds in shared}) > 1:
        return Match(row=row, budget=budget, a=a, b=b, reason="its tasks share different numbers of seeds")
    again = _cells(a) == _cells(b)
    a_SM, b_SM = (
        [[side[which][seed] for side, seed in zip(sides, seeds, strict=True)] for seeds in zip(*shared, strict=True)]
        for which in (0, 1)
    )
    identical = again and a_SM == b_SM
    notes = (_fewer(len(a_SM), a, b), "the same cells, run again" if again and not identical else "", _diverged(a, b))
    return Match(
        row=row,
        budget=budget,
        a=a,
        b=b,
        a_SM=a_SM,
        b_SM=b_SM,
        comparable=True,
        identical=identical,
        reason="; ".join(filter(None, notes)),
    )


def _evidence(results: ResultSet, name: str, budget: int) -> Evidence | None:
    """What there is of a row; None where the set does not have it at that budget."""
    plan = results.plan
    row: Row | None = next((each for each in plan.rows if each.name == name), None)
    if row is None or budget not in plan.suite.budgets:
        return None
    return Evidence.of(plan, row, budget, results.lookup)


def _ran(evidence: Evidence | None) -> bool:
    return evidence is not None and any(run.record for study in evidence.studies for run in study.runs)


def _complete(evidence: Evidence | None) -> Evidence | None:
    return evidence if evidence is not None and evidence.complete else None


def _why_not(name: str, results: ResultSet, evidence: Evidence | None, budget: int) -> str:
    """Why a set has no result of a row; empty where it has, or where it does not have the row."""
    if evidence is None:
        budgets = results.plan.suite.budgets
        return "" if budget in budgets else f"{name} has the budget {', '.join(f'{each:,}' for each in budgets)}"
    return "" if evidence.complete else f"in {name}: {unranked(evidence, results.plan.suite.axis).rstrip('.')}"


def _by_seed(study: Study) -> dict[int, float]:
    assert study.group is not None
    return dict(zip(study.group.final_seeds, study.scores, strict=True))


def _cells(evidence: Evidence) -> list[list[str]]:
    return sorted([record.identity for record in study.final_records] for study in evidence.studies)


def _fewer(shared: int, a: Evidence, b: Evidence) -> str:
    counts = [len(each.studies[0].finals) for each in (a, b)]
    if counts[0] == counts[1] == shared:
        return ""
    if not shared:
        return "no seed is in both"
    return f"{shared} seed{'s are' if shared > 1 else ' is'} in both, of {counts[0]} in A and {counts[1]} in B"


def _diverged(a: Evidence, b: Evidence) -> str:
    """How many final runs diverged, where it is not as it was: a few of many move no mean for certain."""
    runs = [[record.status for study in each.studies for record in study.final_records] for each in (a, b)]
    in_a, in_b = (statuses.count("diverged") for statuses in runs)
    if in_a == in_b:
        return ""
    return f"{in_a} of {len(runs[0])} final runs diverged in A, {in_b} of {len(runs[1])} in B"
