"""Rows of two result sets, matched by cell: the same frame, and the seeds that both have."""

from __future__ import annotations

from dataclasses import dataclass

from moebench.board.evidence import Evidence, Study
from moebench.board.frame import difference
from moebench.board.reasons import unranked
from moebench.planning.plan import Plan
from moebench.planning.rows import Row
from moebench.published.sources import ResultSet

Matrix = list[list[float]]


@dataclass(frozen=True, kw_only=True)
class Match:
    """A row at a budget in both sets, where they have it.

    a_SM, b_SM: scores of the S seeds that both have, on M tasks; None where they cannot be compared, for the reason.
    """

    row: str
    budget: int
    a: Evidence | None
    b: Evidence | None
    a_SM: Matrix | None = None
    b_SM: Matrix | None = None
    identical: bool = False
    reason: str = ""


def match(a: ResultSet, b: ResultSet) -> list[Match]:
    """Every row of either set at every budget of either, in the order of A, then what is new in B."""
    rows = list(dict.fromkeys(row.name for plan in (a.plan, b.plan) for row in plan.rows))
    budgets = list(dict.fromkeys(budget for plan in (a.plan, b.plan) for budget in plan.suite.budgets))
    found = [_match(a, b, row, budget) for budget in budgets for row in rows]
    return [each for each in found if each.a is not None or each.b is not None]


def _match(a: ResultSet, b: ResultSet, row: str, budget: int) -> Match:
    of_a, of_b = _evidence(a, row, budget), _evidence(b, row, budget)
    reason = "; ".join(filter(None, (_incomplete("A", a.plan, of_a), _incomplete("B", b.plan, of_b))))
    blank = Match(row=row, budget=budget, a=_complete(of_a), b=_complete(of_b), reason=reason)
    if of_a is None or of_b is None or blank.a is None or blank.b is None:
        return blank
    if apart := _apart(of_a, of_b):
        return Match(row=row, budget=budget, a=of_a, b=of_b, reason=apart)
    columns = [_paired(one, other) for one, other in _studies(of_a, of_b)]
    if any(set(column) != set(columns[0]) for column in columns):
        return Match(row=row, budget=budget, a=of_a, b=of_b, reason="its tasks share different seeds")
    seeds = list(columns[0])
    return Match(
        row=row,
        budget=budget,
        a=of_a,
        b=of_b,
        a_SM=[[column[seed][0] for column in columns] for seed in seeds],
        b_SM=[[column[seed][1] for column in columns] for seed in seeds],
        identical=_identities(of_a) == _identities(of_b),
        reason=_fewer(len(seeds), of_a, of_b),
    )


def _evidence(results: ResultSet, row: str, budget: int) -> Evidence | None:
    """What there is of a row; None where the set does not have it, or nothing of it ran."""
    plan = results.plan
    found: Row | None = next((each for each in plan.rows if each.name == row), None)
    if found is None or budget not in plan.suite.budgets:
        return None
    evidence = Evidence.of(plan, found, budget, results.lookup)
    ran = any(run.record is not None for study in evidence.studies for run in study.runs)
    return evidence if ran else None


def _complete(evidence: Evidence | None) -> Evidence | None:
    return evidence if evidence is not None and evidence.complete else None


def _incomplete(name: str, plan: Plan, evidence: Evidence | None) -> str:
    if evidence is None or evidence.complete:
        return ""
    return f"in {name} it is {unranked(evidence, plan.suite.axis).rstrip('.')}"


def _studies(a: Evidence, b: Evidence) -> list[tuple[Study, Study]]:
    """Both sets' studies, task by task."""
    others = {study.info.name: study for study in b.studies}
    return [(study, others[study.info.name]) for study in a.studies]


def _apart(a: Evidence, b: Evidence) -> str:
    """What keeps the two from being compared, with the values in A first."""
    tasks = [[study.info.name for study in each.studies] for each in (a, b)]
    if sorted(tasks[0]) != sorted(tasks[1]):
        return f"A has the tasks {', '.join(tasks[0])} and B {', '.join(tasks[1])}"
    for one, other in _studies(a, b):
        assert one.group is not None
        assert other.group is not None
        if found := difference(one.group.template, other.group.template):
            return f"on {one.info.name} A has {found}"
    return ""


def _paired(one: Study, other: Study) -> dict[int, tuple[float, float]]:
    """Seed -> scores in A and in B, of the seeds that both have, in the order of A."""
    a, b = _by_seed(one), _by_seed(other)
    return {seed: (a[seed], b[seed]) for seed in a if seed in b}


def _by_seed(study: Study) -> dict[int, float]:
    assert study.group is not None
    return dict(zip(study.group.final_seeds, study.scores, strict=True))


def _identities(evidence: Evidence) -> list[list[str]]:
    return sorted([record.identity for record in study.final_records] for study in evidence.studies)


def _fewer(shared: int, a: Evidence, b: Evidence) -> str:
    counts = [len(each.studies[0].finals) for each in (a, b)]
    if counts[0] == counts[1] == shared:
        return ""
    return f"{shared} seeds are in both, of {counts[0]} in A and {counts[1]} in B"
