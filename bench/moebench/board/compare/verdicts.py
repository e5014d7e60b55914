"""Verdicts on matched rows, what else differs between them, and their latency."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from moebench.board.compare.matching import Match, Matrix, match
from moebench.board.estimates import provenance
from moebench.board.evidence import ResultSet, RowRuns, RowStudy
from moebench.board.latency import FORWARD, FORWARD_BATCH1, Clock
from moebench.board.model import Estimate, Timing
from moebench.board.reasons import Reason
from moebench.board.rules import ALPHA, LEVEL
from moebench.board.words import metric_name
from moebench.errors import UsageError
from moebench.statistics import TTest, holm, mean_interval, paired_interval, paired_test
from moebench.tasks import get_task

Verdict = Literal["worse", "better", "undecided", "identical", "not comparable", "missing", "new", "unfinished"]

Clocks = tuple[Clock, Clock]
"""Of A and of B at one budget."""

Times = tuple[Timing, Timing]
"""Of A and of B."""

ORDER: tuple[Verdict, ...] = get_args(Verdict)
"""In which verdicts are counted and rows are shown: what a person must act on first."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One row at one budget in A and in B.

    difference: B less A, mean over tasks, paired by seed, with its 95 % interval. p_value: of no difference, adjusted
    by Holm's rule over all rows that are compared. seeds: how many both have. tasks: the difference on each, where
    there are several. reasons: why it is not compared, or what to know. changed: what else differs between its runs in
    A and in B. latency, latency_batch1: milliseconds in A and in B at the suite's batch and at batch 1, where both were
    measured on one device.
    """

    row: str
    budget: int
    verdict: Verdict
    a: Estimate | None = None
    b: Estimate | None = None
    difference: Estimate | None = None
    p_value: float | None = None
    seeds: int = 0
    tasks: Mapping[str, Estimate] = field(default_factory=dict)
    reasons: tuple[Reason, ...] = ()
    changed: tuple[str, ...] = ()
    latency: Times | None = None
    latency_batch1: Times | None = None


def speed(times: Times | None) -> str:
    """``slower``, ``faster``, or ``undecided`` where the intervals of the medians meet; empty without latency."""
    if times is None:
        return ""
    a, b = times
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
        raise UsageError(
            f"neither '{a.source}' nor '{b.source}' has a row with a result on every seed and task.",
            code="nothing-to-compare",
        )
    suite = a.plan.suite
    headlines = [get_task(name).score_that_ranks(suite.rank_by) for name in suite.task_names]
    higher = headlines[0].higher_is_better
    tested = [each for each in matches if each.a_SM and each.b_SM and not each.identical]
    tests = [paired_test(each.b_SM or [], each.a_SM or []) for each in tested]
    adjusted = holm([test.p_value for test in tests])
    by_row = {(m.row, m.budget): (t, p) for m, t, p in zip(tested, tests, adjusted, strict=True)}
    clocks, no_latency = _clocks(a, b)
    pairs = [_pair(each, by_row, clocks.get(each.budget), higher) for each in matches]
    return Comparison(
        suite=a.plan.suite.name,
        a=str(a.source),
        b=str(b.source),
        metric=metric_name([headline.name for headline in headlines]),
        higher_is_better=higher,
        pairs=tuple(sorted(pairs, key=lambda pair: ORDER.index(pair.verdict))),
        no_latency=no_latency or _no_latency(matches, pairs, clocks),
    )


def _pair(
    found: Match, tests: Mapping[tuple[str, int], tuple[TTest, float]], clocks: Clocks | None, higher: bool
) -> Pair:
    test, p_value = tests.get((found.row, found.budget), (None, None))
    verdict, why = _verdict(found, test, p_value, higher)
    comparable = found.a_SM is not None
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
        changed=_changes(found.a, found.b) if found.a and found.b and comparable else (),
        latency=_latency(found.row, clocks, FORWARD) if clocks and comparable else None,
        latency_batch1=_latency(found.row, clocks, FORWARD_BATCH1) if clocks and comparable else None,
    )


def _verdict(found: Match, test: TTest | None, p_value: float | None, higher: bool) -> tuple[Verdict, Reason | None]:
    """The verdict, and why the seeds do not decide."""
    if found.a is None:
        return ("unfinished" if found.b is None else "new"), None
    if found.b is None:
        return "missing", None
    if found.identical:
        return "identical", None
    if test is None or p_value is None:
        return "not comparable", None
    if test.df is None:
        no_spread = Reason("one_seed" if len(found.a_SM or ()) < 2 else "no_spread")
        return "undecided", Reason("same_scores") if found.a_SM == found.b_SM else no_spread
    if p_value >= ALPHA:
        return "undecided", None
    return ("better" if (test.difference > 0) == higher else "worse"), None


def _mean(evidence: RowRuns | None, shared_SM: Matrix | None) -> Estimate | None:
    """Over the seeds that both have, where they are compared; else over the row's own."""
    if evidence is None:
        return None
    return Estimate.of(mean_interval(shared_SM or evidence.scores_SM, LEVEL), evidence.unit)


def _difference(found: Match) -> Estimate | None:
    """B less A over all tasks; the same runs differ by nothing."""
    if not found.a_SM or not found.b_SM or found.a is None:
        return None
    if found.identical:
        return Estimate(0.0, 0.0, 0.0, found.a.unit)
    return Estimate.of(paired_interval(found.b_SM, found.a_SM, LEVEL), found.a.unit)


def _tasks(found: Match) -> dict[str, Estimate]:
    """B less A on each task, where there are several."""
    if not found.a_SM or not found.b_SM or found.identical or found.a is None or len(found.a.studies) < 2:
        return {}
    b_MS, a_MS = zip(*found.b_SM, strict=True), zip(*found.a_SM, strict=True)
    return {
        study.info.name: Estimate.of(paired_interval([[x] for x in b], [[x] for x in a], LEVEL), study.headline.unit)
        for study, b, a in zip(found.a.studies, b_MS, a_MS, strict=True)
    }


def _changes(a: RowRuns, b: RowRuns) -> tuple[str, ...]:
    """``code``, ``settings``, ``device: X to Y``, ``torch: 2.13.0 to 2.14.1``: what differs between the final runs."""
    others = {study.info.name: study for study in b.studies}
    pairs = [(study, others[study.info.name]) for study in a.studies]
    parts = {"code": _code, "settings": _settings}
    found = [name for name, of in parts.items() if any(of(one) != of(two) for one, two in pairs)]
    own, other = _circumstances(a), _circumstances(b)
    sides = [(name, own.get(name) or "unknown", other.get(name) or "unknown") for name in {**own, **other}]
    return (*found, *(f"{name}: {in_a} to {in_b}" for name, in_a, in_b in sides if in_a != in_b))


def _code(study: RowStudy) -> object:
    return study.group.template["code_digest"] if study.group else None


def _settings(study: RowStudy) -> object:
    """The winner's."""
    return study.group.trials[study.winner] if study.group and study.winner is not None else None


def _circumstances(evidence: RowRuns) -> dict[str, str]:
    found = provenance([record for study in evidence.studies for record in study.final_records])
    if found is None:
        return {}
    return {"device": ", ".join(found.devices), "backend": ", ".join(found.backends), **found.versions}


def _clocks(a: ResultSet, b: ResultSet) -> tuple[dict[int, Clocks], Reason | None]:
    """The clocks of A and of B by budget; without any, the reason why latency is not compared."""
    own, other = a.plan, b.plan
    if own.device["name"] != other.device["name"]:
        return {}, Reason("latency_of_devices", a=own.device["name"], b=other.device["name"])
    if own.suite.latency.batch != other.suite.latency.batch:
        return {}, Reason("latency_of_batches", a=own.suite.latency.batch, b=other.suite.latency.batch)
    shared = [budget for budget in own.suite.budgets if budget in other.suite.budgets]
    return {n: (Clock.of(own, n, a.lookup), Clock.of(other, n, b.lookup)) for n in shared}, None


def _latency(row: str, clocks: Clocks, name: str) -> Times | None:
    """A row's milliseconds in both; None where one has none."""
    a, b = (clock.read(row, name)[0] for clock in clocks)
    return (a, b) if a is not None and b is not None else None


def _no_latency(matches: Sequence[Match], pairs: Sequence[Pair], clocks: Mapping[int, Clocks]) -> Reason | None:
    """Why no row has a latency in both; None where one has, or none is compared."""
    first = next((match for match in matches if match.a_SM is not None), None)
    if first is None or any(pair.latency for pair in pairs):
        return None
    a, b = (clock.read(first.row)[1] for clock in clocks[first.budget])
    whys = {"in both": a} if a == b else {"in A": a, "in B": b}
    return Reason("latency_missing", whys={name: why for name, why in whys.items() if why})
