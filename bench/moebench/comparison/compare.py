"""Verdicts on matched rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from moebench.board.evidence import Evidence
from moebench.board.formats.words import metric_name
from moebench.board.model import Measure
from moebench.board.rules import ALPHA, LEVEL
from moebench.board.scores import measure
from moebench.board.statistics import PairedTest, holm, mean_interval, paired_interval, paired_test
from moebench.comparison.latency import Sides, latencies
from moebench.comparison.match import Match, Matrix, match
from moebench.comparison.model import Comparison, Pair, TaskDifference, Verdict
from moebench.errors import UsageError
from moebench.published.sources import ResultSet
from moebench.tasks import get_task


def compare(a: ResultSet, b: ResultSet) -> Comparison:
    """Compare the rows of B with those of A. :class:`UsageError` where no row has a result in either."""
    matches = match(a, b)
    if not any(each.a or each.b for each in matches):
        raise UsageError(f"neither '{a.source}' nor '{b.source}' has a row with a result on every seed and task.")
    infos = [get_task(name).info for name in a.plan.suite.task_names]
    higher = infos[0].higher_is_better
    compared = [each for each in matches if each.a_SM and each.b_SM and not each.identical]
    tests = [paired_test(each.b_SM or [], each.a_SM or []) for each in compared]
    adjusted = holm([test.p_value for test in tests]) if tests else ()
    by_row = {(m.row, m.budget): (t, p) for m, t, p in zip(compared, tests, adjusted, strict=True)}
    sides = latencies(a, b)
    return Comparison(
        suite=a.plan.suite.name,
        a=str(a.source),
        b=str(b.source),
        metric=metric_name([info.metric for info in infos]),
        higher_is_better=higher,
        pairs=tuple(_pair(each, by_row, sides, higher) for each in matches if each.a or each.b),
        no_latency=sides.reason,
    )


def _pair(found: Match, tests: Mapping[tuple[str, int], tuple[PairedTest, float]], sides: Sides, higher: bool) -> Pair:
    test, p_value = tests.get((found.row, found.budget), (None, None))
    a_SM, b_SM = found.a_SM, found.b_SM
    verdict, reason = _verdict(found, test, p_value, higher)
    paired = a_SM is not None and b_SM is not None
    return Pair(
        row=found.row,
        budget=found.budget,
        verdict=verdict,
        a=_mean(found.a, a_SM),
        b=_mean(found.b, b_SM),
        difference=_difference(b_SM, a_SM, found.a) if paired else None,
        p_value=p_value,
        seeds=len(a_SM or ()),
        tasks=_tasks(found),
        reason=reason,
        latency=sides.of(found.row, found.budget) if found.a and found.b else None,
    )


def _verdict(found: Match, test: PairedTest | None, p_value: float | None, higher: bool) -> tuple[Verdict, str]:
    if found.b is None:
        return "missing", found.reason
    if found.a is None:
        return "new", found.reason
    if found.identical:
        return "identical", found.reason
    if test is None or p_value is None:
        return "not comparable", found.reason or "no seed is in both"
    if test.df is None:
        return "undecided", found.reason or "the seeds show no spread, or there is one"
    if p_value >= ALPHA:
        return "undecided", found.reason
    return ("better" if (test.difference > 0) == higher else "worse"), found.reason


def _mean(evidence: Evidence | None, shared_SM: Matrix | None) -> Measure | None:
    """Over the seeds that both have, where they are compared; else over the row's own."""
    if evidence is None:
        return None
    return measure(mean_interval(shared_SM or evidence.scores_SM, LEVEL), evidence.studies[0].info.unit)


def _difference(b_SM: Matrix | None, a_SM: Matrix | None, evidence: Evidence | None) -> Measure | None:
    if not b_SM or not a_SM or evidence is None:
        return None
    return measure(paired_interval(b_SM, a_SM, LEVEL), evidence.studies[0].info.unit)


def _tasks(found: Match) -> tuple[TaskDifference, ...]:
    """Each task on its own, where there are several."""
    if not found.a_SM or not found.b_SM or found.a is None or len(found.a.studies) < 2:
        return ()
    names: Sequence[str] = [study.info.name for study in found.a.studies]
    return tuple(
        TaskDifference(
            task=name,
            value=measure(
                paired_interval([[row[m]] for row in found.b_SM], [[row[m]] for row in found.a_SM], LEVEL),
                found.a.studies[m].info.unit,
            ),
        )
        for m, name in enumerate(names)
    )
