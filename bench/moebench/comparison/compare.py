"""Verdicts on matched rows."""

from __future__ import annotations

from collections.abc import Mapping

from moebench.board.evidence import Evidence
from moebench.board.formats.words import metric_name
from moebench.board.model import Measure
from moebench.board.rules import ALPHA, LEVEL
from moebench.board.scores import measure
from moebench.board.statistics import PairedTest, holm, mean_interval, paired_interval, paired_test
from moebench.comparison.changes import changes
from moebench.comparison.latency import Sides, latencies
from moebench.comparison.match import Match, Matrix, match
from moebench.comparison.model import ORDER, Comparison, Pair, TaskDifference, Verdict
from moebench.errors import UsageError
from moebench.published.sources import ResultSet
from moebench.tasks import get_task


def compare(a: ResultSet, b: ResultSet) -> Comparison:
    """Compare the rows of B with those of A. :class:`UsageError` where no row has a result in either."""
    matches = match(a, b)
    if not any(each.a or each.b for each in matches):
        raise UsageError(f"neither '{a.source}' nor '{b.source}' has a row with a result on every seed and task.")
    headlines = [get_task(name).info.ranked_by for name in a.plan.suite.task_names]
    higher = headlines[0].higher_is_better
    compared = [(each, each.a_SM, each.b_SM) for each in matches if each.a_SM and each.b_SM and not each.identical]
    tests = [paired_test(b_SM, a_SM) for _, a_SM, b_SM in compared]
    adjusted = holm([test.p_value for test in tests]) if tests else ()
    by_row = {(m.row, m.budget): (t, p) for (m, *_), t, p in zip(compared, tests, adjusted, strict=True)}
    sides = latencies(a, b)
    pairs = [_pair(each, by_row, sides, higher) for each in matches]
    return Comparison(
        suite=a.plan.suite.name,
        a=str(a.source),
        b=str(b.source),
        metric=metric_name([headline.name for headline in headlines]),
        higher_is_better=higher,
        pairs=tuple(sorted(pairs, key=lambda pair: ORDER.index(pair.verdict))),
        no_latency=sides.reason(matches),
    )


def _pair(found: Match, tests: Mapping[tuple[str, int], tuple[PairedTest, float]], sides: Sides, higher: bool) -> Pair:
    test, p_value = tests.get((found.row, found.budget), (None, None))
    verdict, why = _verdict(found, test, p_value, higher)
    return Pair(
        row=found.row,
        budget=found.budget,
        verdict=verdict,
        a=_mean(found.a, found.a_SM),
        b=_mean(found.b, found.b_SM),
        difference=_difference(found),
        p_value=p_value,
        seeds=len(found.a_SM or ()),
        tasks=_tasks(found),
        reason="; ".join(filter(None, (why, found.reason))),
        changed=changes(found.a, found.b) if found.a and found.b and found.comparable else (),
        latency=sides.of(found),
    )


def _verdict(found: Match, test: PairedTest | None, p_value: float | None, higher: bool) -> tuple[Verdict, str]:
    """The verdict, and why the seeds cannot tell where they cannot."""
    if found.a is None:
        return ("unfinished" if found.b is None else "new"), ""
    if found.b is None:
        return "missing", ""
    if found.identical:
        return "identical", ""
    if test is None or p_value is None:
        return "not comparable", ""
    if test.df is None:
        return "undecided", _no_spread(found)
    if p_value >= ALPHA:
        return "undecided", ""
    return ("better" if (test.difference > 0) == higher else "worse"), ""


def _no_spread(found: Match) -> str:
    if found.a_SM == found.b_SM:
        return "every score is the same in both"
    if len(found.a_SM or ()) < 2:
        return "one seed decides nothing"
    return "the difference is the same on every seed, so there is no spread to judge it by"


def _mean(evidence: Evidence | None, shared_SM: Matrix | None) -> Measure | None:
    """Over the seeds that both have, where they are compared; else over the row's own."""
    if evidence is None:
        return None
    return measure(mean_interval(shared_SM or evidence.scores_SM, LEVEL), evidence.studies[0].headline.unit)


def _difference(found: Match) -> Measure | None:
    """B less A over all tasks; the same runs differ by nothing."""
    if not found.a_SM or not found.b_SM or found.a is None:
        return None
    unit = found.a.studies[0].headline.unit
    if found.identical:
        return Measure(0.0, 0.0, 0.0, unit)
    return measure(paired_interval(found.b_SM, found.a_SM, LEVEL), unit)


def _tasks(found: Match) -> tuple[TaskDifference, ...]:
    """Each task on its own, where there are several."""
    if not found.a_SM or not found.b_SM or found.identical or found.a is None or len(found.a.studies) < 2:
        return ()
    return tuple(
        TaskDifference(
            task=study.info.name,
            value=measure(
                paired_interval([[row[m]] for row in found.b_SM], [[row[m]] for row in found.a_SM], LEVEL),
                study.headline.unit,
            ),
        )
        for m, study in enumerate(found.a.studies)
    )
