"""Verdicts on matched rows, what else differs between them, and their latency."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from moebench.board.compare.matching import Match, Matrix, match
from moebench.board.estimates import provenance
from moebench.board.evidence import Evidence, ResultSet, Study
from moebench.board.latency import Clock
from moebench.board.model import Measure, Timing
from moebench.board.reasons import Reason
from moebench.board.rules import ALPHA, LEVEL
from moebench.board.words import metric_name
from moebench.errors import UsageError
from moebench.statistics import PairedTest, holm, mean_interval, paired_interval, paired_test
from moebench.tasks import get_task

Verdict = Literal["worse", "better", "undecided", "identical", "not comparable", "missing", "new", "unfinished"]

ORDER: tuple[Verdict, ...] = get_args(Verdict)
"""In which verdicts are counted and rows are shown: what a person must act on first."""


@dataclass(frozen=True, kw_only=True)
class TaskDifference:
    """One task of a row: B less A, paired by seed."""

    task: str
    value: Measure


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One row at one budget in A and in B.

    difference: B less A, mean over tasks, paired by seed, with its 95 % interval. p_value: of no difference, adjusted
    by Holm's rule over all rows that are compared. seeds: how many both have. reasons: why it is not compared, or what
    to know. changed: what else differs between its runs in A and in B. latency: milliseconds in A and in B, where both
    were measured on one device.
    """

    row: str
    budget: int
    verdict: Verdict
    a: Measure | None = None
    b: Measure | None = None
    difference: Measure | None = None
    p_value: float | None = None
    seeds: int = 0
    tasks: tuple[TaskDifference, ...] = ()
    reasons: tuple[Reason, ...] = ()
    changed: tuple[str, ...] = ()
    latency: tuple[Timing, Timing] | None = None

    @property
    def speed(self) -> str:
        """``slower``, ``faster``, or ``undecided`` where the intervals of the medians meet; empty without latency."""
        if self.latency is None:
            return ""
        a, b = self.latency
        if a.low is None or a.high is None or b.low is None or b.high is None:
            return "undecided"
        return "slower" if b.low > a.high else "faster" if b.high < a.low else "undecided"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """suite: of both. a, b: where they come from. metric: what is compared. no_latency: why latency is not."""

    suite: str
    a: str
    b: str
    metric: str
    higher_is_better: bool
    pairs: tuple[Pair, ...]
    no_latency: Reason | None = None

    @property
    def counts(self) -> dict[Verdict, int]:
        """How many rows have each verdict; those that none has are left out."""
        found = Counter(pair.verdict for pair in self.pairs)
        return {verdict: found[verdict] for verdict in ORDER if found[verdict]}

    @property
    def worse(self) -> bool:
        """Whether anything became worse."""
        return any(pair.verdict == "worse" for pair in self.pairs)


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
    clocks = _Clocks.of(a, b)
    pairs = [_pair(each, by_row, clocks, higher) for each in matches]
    return Comparison(
        suite=a.plan.suite.name,
        a=str(a.source),
        b=str(b.source),
        metric=metric_name([headline.name for headline in headlines]),
        higher_is_better=higher,
        pairs=tuple(sorted(pairs, key=lambda pair: ORDER.index(pair.verdict))),
        no_latency=clocks.reason(matches),
    )


def _pair(
    found: Match, tests: Mapping[tuple[str, int], tuple[PairedTest, float]], clocks: _Clocks, higher: bool
) -> Pair:
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
        reasons=(*([why] if why else []), *found.reasons),
        changed=_changes(found.a, found.b) if found.a and found.b and found.comparable else (),
        latency=clocks.read(found),
    )


def _verdict(
    found: Match, test: PairedTest | None, p_value: float | None, higher: bool
) -> tuple[Verdict, Reason | None]:
    """The verdict, and why the seeds cannot tell where they cannot."""
    if found.a is None:
        return ("unfinished" if found.b is None else "new"), None
    if found.b is None:
        return "missing", None
    if found.identical:
        return "identical", None
    if test is None or p_value is None:
        return "not comparable", None
    if test.df is None:
        return "undecided", _no_spread(found)
    if p_value >= ALPHA:
        return "undecided", None
    return ("better" if (test.difference > 0) == higher else "worse"), None


def _no_spread(found: Match) -> Reason:
    if found.a_SM == found.b_SM:
        return Reason("same_scores")
    return Reason("one_seed" if len(found.a_SM or ()) < 2 else "no_spread")


def _mean(evidence: Evidence | None, shared_SM: Matrix | None) -> Measure | None:
    """Over the seeds that both have, where they are compared; else over the row's own."""
    if evidence is None:
        return None
    return Measure.of(mean_interval(shared_SM or evidence.scores_SM, LEVEL), evidence.unit)


def _difference(found: Match) -> Measure | None:
    """B less A over all tasks; the same runs differ by nothing."""
    if not found.a_SM or not found.b_SM or found.a is None:
        return None
    if found.identical:
        return Measure(0.0, 0.0, 0.0, found.a.unit)
    return Measure.of(paired_interval(found.b_SM, found.a_SM, LEVEL), found.a.unit)


def _tasks(found: Match) -> tuple[TaskDifference, ...]:
    """Each task on its own, where there are several."""
    if not found.a_SM or not found.b_SM or found.identical or found.a is None or len(found.a.studies) < 2:
        return ()
    a_SM, b_SM = found.a_SM, found.b_SM

    def difference(m: int, unit: str) -> Measure:
        return Measure.of(paired_interval([[row[m]] for row in b_SM], [[row[m]] for row in a_SM], LEVEL), unit)

    return tuple(
        TaskDifference(task=study.info.name, value=difference(m, study.headline.unit))
        for m, study in enumerate(found.a.studies)
    )


def _changes(a: Evidence, b: Evidence) -> tuple[str, ...]:
    """``code``, ``settings``, ``device: X to Y``, ``torch: 2.13.0 to 2.14.1``: what differs between the final runs."""
    others = {study.info.name: study for study in b.studies}
    pairs = [(study, others[study.info.name]) for study in a.studies]
    parts = {"code": _code, "settings": _settings}
    found = [name for name, of in parts.items() if any(of(one) != of(two) for one, two in pairs)]
    sides = [_circumstances(each) for each in (a, b)]
    names = list(dict.fromkeys((*sides[0], *sides[1])))
    both = [(name, *(side.get(name) or "unknown" for side in sides)) for name in names]
    return (*found, *(f"{name}: {own} to {other}" for name, own, other in both if own != other))


def _code(study: Study) -> object:
    return study.group.template["code_digest"] if study.group else None


def _settings(study: Study) -> object:
    """The winner's."""
    return study.group.trials[study.winner] if study.group and study.winner is not None else None


def _circumstances(evidence: Evidence) -> dict[str, str]:
    found = provenance([record for study in evidence.studies for record in study.final_records])
    if found is None:
        return {}
    return {"device": ", ".join(found.devices), "backend": ", ".join(found.backends), **found.versions}


@dataclass(frozen=True)
class _Clocks:
    """Clocks of A and of B by budget; without any, the reason why latency is not compared."""

    by_budget: dict[int, tuple[Clock, Clock]] = field(default_factory=dict)
    refused: Reason | None = None

    @classmethod
    def of(cls, a: ResultSet, b: ResultSet) -> _Clocks:
        """The clocks of both, if they measured the same thing on one device."""
        own, other = (results.plan for results in (a, b))
        if own.device["name"] != other.device["name"]:
            return cls(refused=Reason("latency_of_devices", a=own.device["name"], b=other.device["name"]))
        if own.suite.latency.batch != other.suite.latency.batch:
            batches = {"a": own.suite.latency.batch, "b": other.suite.latency.batch}
            return cls(refused=Reason("latency_of_batches", **batches))
        budgets = [budget for budget in own.suite.budgets if budget in other.suite.budgets]
        return cls({n: (Clock.of(a.plan, n, a.lookup), Clock.of(b.plan, n, b.lookup)) for n in budgets})

    def read(self, found: Match) -> tuple[Timing, Timing] | None:
        """A row's milliseconds in both; None where one has none, or the rows are not comparable: host, precision,
        threads and tasks make other models.
        """
        if not found.comparable or found.budget not in self.by_budget:
            return None
        a, b = (clock.read(found.row)[0] for clock in self.by_budget[found.budget])
        return (a, b) if a is not None and b is not None else None

    def reason(self, matches: list[Match]) -> Reason | None:
        """Why no row has a latency in both; None where one has, or none is compared."""
        compared = [each for each in matches if each.comparable]
        if self.refused or not compared or any(map(self.read, compared)):
            return self.refused
        first = compared[0]
        a, b = (clock.read(first.row)[1] for clock in self.by_budget[first.budget])
        whys = {"in both": a} if a == b else {"in A": a, "in B": b}
        return Reason("latency_missing", whys={name: why for name, why in whys.items() if why})
