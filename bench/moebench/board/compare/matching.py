"""Rows of two result sets, matched by cell: equal settings outside the variant, and the seeds that both have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from moebench.board.evidence import ResultSet, RowRuns, RowStudy
from moebench.board.reasons import Reason
from moebench.board.shared_settings import differences, in_words
from moebench.plans.plan import Plan
from moebench.suites.schema import Range, TuningSettings

Matrix = list[list[float]]

EFFORT: Mapping[str, str] = MappingProxyType(
    {
        "trials": "the number of trials",
        "sampler": "the sampler",
        "lr": "the range of lr",
        "weight_decay": "the range of weight_decay",
    }
)
"""What a suite says of tuning, in words."""


@dataclass(frozen=True, kw_only=True)
class Match:
    """A row at a budget in both sets; ``a`` and ``b`` are None where it has no result on every seed and task.

    a_SM, b_SM: scores of the S seeds that both have, on M tasks; None where anything but variants, seeds and code
    differs. identical: whether the cells and their scores are. reasons: why it is not compared, or what to know if it
    is.
    """

    row: str
    budget: int
    a: RowRuns | None = None
    b: RowRuns | None = None
    a_SM: Matrix | None = None
    b_SM: Matrix | None = None
    identical: bool = False
    reasons: tuple[Reason, ...] = ()


def match(a: ResultSet, b: ResultSet) -> list[Match]:
    """Every row of either set at every budget of either, those of A first, each in its suite's order.

    Rows of which nothing ran in either are left out.
    """
    rows = list(dict.fromkeys(row.name for plan in (a.plan, b.plan) for row in plan.board_rows))
    budgets = list(dict.fromkeys(budget for plan in (a.plan, b.plan) for budget in plan.suite.budgets))
    found = [_match(a, b, row, budget) for budget in budgets for row in rows]
    return [each for each in found if each is not None]


def _match(a: ResultSet, b: ResultSet, row: str, budget: int) -> Match | None:
    of_a, of_b = a.evidence(row, budget), b.evidence(row, budget)
    if not any(map(_ran, (of_a, of_b))):
        return None
    if of_a is None or of_b is None or not of_a.complete or not of_b.complete:
        whys = (_why_not("A", a, of_a, budget), _why_not("B", b, of_b, budget))
        return Match(row=row, budget=budget, a=_complete(of_a), b=_complete(of_b), reasons=tuple(filter(None, whys)))
    if reason := _not_comparable(a.plan, b.plan, of_a, of_b):
        return Match(row=row, budget=budget, a=of_a, b=of_b, reasons=(reason,))
    return _paired(row, budget, of_a, of_b)


def _paired(row: str, budget: int, a: RowRuns, b: RowRuns) -> Match:
    """Two complete rows that can be compared, by the seeds that all tasks have in both."""
    others = {study.info.name: study for study in b.studies}
    sides = [(_by_seed(study), _by_seed(others[study.info.name])) for study in a.studies]
    # A row of the matrix is one training seed's index, whose number differs from task to task.
    shared = [[seed for seed in of_a if seed in of_b] for of_a, of_b in sides]
    if len({len(seeds) for seeds in shared}) > 1:
        return Match(row=row, budget=budget, a=a, b=b, reasons=(Reason("uneven_seeds"),))
    again = _identities(a) == _identities(b)
    a_SM, b_SM = (
        [[side[which][seed] for side, seed in zip(sides, seeds, strict=True)] for seeds in zip(*shared, strict=True)]
        for which in (0, 1)
    )
    run_again = Reason("run_again") if again and a_SM != b_SM else None
    return Match(
        row=row,
        budget=budget,
        a=a,
        b=b,
        a_SM=a_SM,
        b_SM=b_SM,
        identical=again and a_SM == b_SM,
        reasons=tuple(filter(None, (_fewer(len(a_SM), a, b), run_again, _diverged(a, b)))),
    )


def _ran(evidence: RowRuns | None) -> bool:
    return evidence is not None and any(run.record for study in evidence.studies for run in study.runs)


def _complete(evidence: RowRuns | None) -> RowRuns | None:
    return evidence if evidence is not None and evidence.complete else None


def _why_not(side: str, results: ResultSet, evidence: RowRuns | None, budget: int) -> Reason | None:
    """Why a set has no result of a row; None where it has, or where it does not have the row."""
    if evidence is None:
        budgets = results.plan.suite.budgets
        names = ", ".join(f"{each:,}" for each in budgets)
        return None if budget in budgets else Reason("other_budgets", side=side, budgets=names)
    reason = None if evidence.complete else evidence.unranked(results.plan.suite.axis)
    return Reason("in_side", side=side, reason=reason) if reason else None


def _not_comparable(a: Plan, b: Plan, of_a: RowRuns, of_b: RowRuns) -> Reason | None:
    """The first of: other tasks, other settings, another tuning effort, a side that misses its budget; else None."""
    return (
        _tasks(of_a, of_b)
        or _scores(of_a, of_b)
        or _settings(of_a, of_b)
        or _effort(a.suite.tuned, b.suite.tuned)
        or _size("A", a, of_a)
        or _size("B", b, of_b)
    )


def _scores(a: RowRuns, b: RowRuns) -> Reason | None:
    """Which score ranks, where it is not the same."""
    names = [", ".join(sorted({study.headline.name for study in each.studies})) for each in (a, b)]
    return None if names[0] == names[1] else Reason("settings_differ", differences=(("the score that ranks", *names),))


def _tasks(a: RowRuns, b: RowRuns) -> Reason | None:
    names = [[study.info.name for study in each.studies] for each in (a, b)]
    if sorted(names[0]) == sorted(names[1]):
        return None
    return Reason("tasks_differ", a=", ".join(names[0]), b=", ".join(names[1]))


def _settings(a: RowRuns, b: RowRuns) -> Reason | None:
    """All that differs on the first task of which anything does."""
    others = {study.info.name: study.group for study in b.studies}
    for study in a.studies:
        own, other = study.group, others[study.info.name]
        assert own is not None
        assert other is not None
        if found := differences(own.template, other.template):
            place = study.info.name if len(a.studies) > 1 else ""
            return Reason("settings_differ", differences=found, place=place)
    return None


def _effort(a: TuningSettings, b: TuningSettings) -> Reason | None:
    """Tuning effort must be equal: a row that was tuned longer is better for that alone."""
    for name, title in EFFORT.items():
        own, other = getattr(a, name), getattr(b, name)
        if own != other:
            return Reason("effort_differs", differences=((title, _in_words(own), _in_words(other)),))
    return None


def _size(side: str, plan: Plan, evidence: RowRuns) -> Reason | None:
    reason = evidence.off_budget(plan.suite.axis)
    return Reason("size_in_side", side=side, reason=reason) if reason else None


def _in_words(value: object) -> str:
    if isinstance(value, Range):
        return f"{value.low:g} to {value.high:g} (default {value.default:g})"
    return in_words(value)


def _by_seed(study: RowStudy) -> dict[int, float]:
    assert study.group is not None
    return dict(zip(study.group.final_seeds, study.scores, strict=True))


def _identities(evidence: RowRuns) -> list[list[str]]:
    return sorted([record.identity for record in study.final_records] for study in evidence.studies)


def _fewer(shared: int, a: RowRuns, b: RowRuns) -> Reason | None:
    counts = [len(each.studies[0].finals) for each in (a, b)]
    if counts[0] == counts[1] == shared:
        return None
    return Reason("fewer_seeds", shared=shared, a=counts[0], b=counts[1]) if shared else Reason("no_shared_seed")


def _diverged(a: RowRuns, b: RowRuns) -> Reason | None:
    """How many final runs diverged, where that changed: a few of many need not change the mean significantly."""
    runs = [[record.status for study in each.studies for record in study.final_records] for each in (a, b)]
    in_a, in_b = (statuses.count("diverged") for statuses in runs)
    if in_a == in_b:
        return None
    return Reason("divergence_differs", a=in_a, of_a=len(runs[0]), b=in_b, of_b=len(runs[1]))
