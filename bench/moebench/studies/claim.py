"""A claim of a paper, what is measured here, and the rule, stated before the runs, that gives the verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Literal

import numpy as np

from moebench.board import Estimate
from moebench.statistics import Interval, mean_interval, paired_interval
from moebench.studies.evidence import Evidence, Series
from moebench.text import counted_noun

Unit = Literal["difference", "share", "ratio", "MSE", "count", "slope", "rank correlation"]

NOT_RUN = "no run of it is done"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One row of the report's first table. part: the suite that answers it. source: an extension asks what the paper
    leaves open. unit: of the numbers; a ``difference`` is one of accuracies or errors.
    """

    key: str
    part: str
    statement: str
    paper: str
    here: str
    rule: str
    judge: Callable[[Evidence], Finding]
    source: Literal["paper", "extension"] = "paper"
    unit: Unit = "difference"


Verdict = Literal["holds", "does not hold", "undecided", "not testable at this scale"]
HOLDS: Verdict = "holds"
FAILS: Verdict = "does not hold"
OPEN: Verdict = "undecided"
ELSEWHERE: Verdict = "not testable at this scale"
"""Of a claim about another task, or models of another scale, than were measured."""

LEVEL = 0.95
"""Coverage of a claim's intervals together."""

LEAST_SEEDS = 3
"""Fewer training seeds settle nothing that varies from seed to seed."""


@dataclass(frozen=True)
class SeededEstimate(Estimate):
    """A number with its interval and the training seeds that it rests on; 0 where it varies with no seed.

    level: of the interval. below, above: how much of it is no noise of seeds, but the number itself that is known only
    between two others, as what is read off a curve of few points; more seeds do not narrow it.
    """

    seeds: int = 0
    level: float = LEVEL
    below: float = 0.0
    above: float = 0.0

    def among(self, intervals: int) -> SeededEstimate:
        """The same with the interval that holds together with all others of so many with 95 % (Bonferroni).

        It is widened by the quantiles of t with ``seeds`` - 1 degrees of freedom; an interval over rounds, which are
        many, by those of the normal distribution.
        """
        from scipy import special

        if self.low is None or self.high is None or intervals < 2:
            return self
        level = 1 - (1 - LEVEL) / intervals
        ends = [(1 + each) / 2 for each in (self.level, level)]
        known, asked = special.stdtrit(self.seeds - 1, ends) if self.seeds > 1 else special.ndtri(ends)
        share = float(asked / known)
        low = self.value - self.below - share * (self.value - self.below - self.low)
        high = self.value + self.above + share * (self.high - self.above - self.value)
        return replace(self, low=low, high=high, level=level)


@dataclass(frozen=True)
class Item:
    """One number that a claim rests on. margin: how far on the claim's side of its bound; less is weaker. bound: that
    judged its interval; None of a number without one.
    """

    what: str
    estimate: SeededEstimate | None
    verdict: Verdict
    reason: str = ""
    margin: float = 0.0
    note: str = ""
    bound: Bound | None = None

    @property
    def uncertain(self) -> bool:
        """Whether its interval may miss the true number, now or once it has run."""
        exactly = self.estimate is not None and self.estimate.low == self.estimate.value == self.estimate.high
        return self.bound is not None and not exactly

    def among(self, intervals: int) -> Item:
        """Judged anew by the interval that holds together with the others of so many."""
        if self.bound is None or self.estimate is None:
            return self
        return self.bound.judge(self.what, self.estimate.among(intervals), self.note)


@dataclass(frozen=True)
class Finding:
    """A claim's verdict, the number that decides it, and all numbers that it rests on."""

    verdict: Verdict
    reason: str
    decides: Item | None
    items: tuple[Item, ...] = ()


@dataclass(frozen=True)
class Bound:
    """A number lies above, or below, a bound when its whole interval does."""

    value: float
    side: Literal["above", "below"] = "above"
    least_seeds: int = LEAST_SEEDS

    def judge(self, what: str, estimate: SeededEstimate | None, note: str = "") -> Item:
        """On the bound's side the claim holds, on the other it does not; else it is open, with the reason."""
        if estimate is None:
            return Item(what, None, OPEN, "it has not run", note=note, bound=self)
        sign = 1 if self.side == "above" else -1
        margin = sign * (estimate.value - self.value)
        reason = self._open(estimate)
        if reason:
            return Item(what, estimate, OPEN, reason, margin, note, self)
        assert estimate.low is not None
        assert estimate.high is not None
        near, far = (estimate.low, estimate.high) if sign == 1 else (estimate.high, estimate.low)
        if sign * (near - self.value) > 0:
            return Item(what, estimate, HOLDS, "", margin, note, self)
        if sign * (far - self.value) < 0:
            return Item(what, estimate, FAILS, "", margin, note, self)
        return Item(what, estimate, OPEN, f"the interval includes the bound {self.value:g}", margin, note, self)

    def _open(self, estimate: SeededEstimate) -> str:
        if estimate.seeds < self.least_seeds:
            return f"{counted_noun(estimate.seeds, 'training seed')}, and {self.least_seeds} are needed"
        return "the seeds show no spread, so there is no interval" if estimate.low is None else ""


def every(items: Sequence[Item], absent: str = NOT_RUN) -> Finding:
    """All must hold; one that clearly does not is enough against. ``absent``: the reason where there are none.

    Several intervals are judged with Bonferroni: n of them at 1 - 0.05 / n each, so that all hold the true numbers with
    95 %, whatever their dependence. A number that varies with nothing is not counted, and one that has two bounds is
    counted once.
    """
    if not items:
        return Finding(OPEN, absent, None)
    intervals = len({item.what for item in items if item.uncertain})
    items = [item.among(intervals) for item in items]
    verdicts = {item.verdict for item in items}
    verdict = next(each for each in (FAILS, OPEN, HOLDS) if each in verdicts)
    concerned = [item for item in items if item.verdict == verdict]
    decides = min(concerned, key=lambda item: (item.estimate is not None, item.margin))
    reason = f"{decides.what}: {decides.reason}" if decides.reason else ""
    return Finding(verdict, reason, decides, tuple(items))


def compare(
    pairs: Iterable[tuple[str, Series, Series]], bound: Bound, absent: str = NOT_RUN, form: str = "{:.3f}"
) -> Finding:
    """Whether a - b, paired by seed, is on the bound's side for every (what, a, b). form: of the means beside it."""
    return every([bound.judge(what, difference(a, b), means(a, b, form)) for what, a, b in pairs], absent)


def exact(estimate: SeededEstimate | None) -> SeededEstimate | None:
    """A number that is the same under every seed is its own interval."""
    if estimate is None or estimate.low is not None or estimate.seeds < 2:
        return estimate
    return replace(estimate, low=estimate.value, high=estimate.value)


def means(a: Series, b: Series, form: str = "{:.3f}") -> str:
    """The two means that are compared."""
    return " and ".join(form.format(found.value) if found else "-" for found in (mean(a), mean(b)))


def mean(values: Series) -> SeededEstimate | None:
    """Mean over seeds with its t interval; None without any."""
    if not values:
        return None
    return _estimate(mean_interval(np.array([[values[s]] for s in sorted(values)])), len(values))


def bracketed(values: Series, least: Series, most: Series) -> SeededEstimate | None:
    """Mean over seeds of numbers of which each is known only to lie between two others, as what is read off a curve of
    few points: its t interval, widened by how far the means of these lie from it. None without any.
    """
    found = mean(values)
    if found is None or found.low is None or found.high is None:
        return found
    below, above = (abs(fmean(ends[seed] - values[seed] for seed in values)) for ends in (least, most))
    return replace(found, low=found.low - below, high=found.high + above, below=below, above=above)


def difference(a: Series, b: Series) -> SeededEstimate | None:
    """Mean of a - b, paired by seed, with its t interval; None without a seed that has both."""
    seeds = sorted(a.keys() & b.keys())
    if not seeds:
        return None
    return _estimate(paired_interval([[a[s]] for s in seeds], [[b[s]] for s in seeds]), len(seeds))


def mean_series(each: Sequence[Series]) -> Series:
    """The mean by seed, of seeds that all have."""
    seeds = set.intersection(*(set(values) for values in each))
    return {seed: sum(values[seed] for values in each) / len(each) for seed in sorted(seeds)}


def ratio(a: Series, b: Series) -> Series:
    """a / b by seed, where b is not 0."""
    return {seed: a[seed] / b[seed] for seed in sorted(a.keys() & b.keys()) if b[seed]}


def less(a: Series, b: Series) -> Series:
    """a - b by seed."""
    return {seed: a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())}


def _estimate(interval: Interval, seeds: int) -> SeededEstimate:
    return SeededEstimate(interval.value, interval.low, interval.high, seeds=seeds)
