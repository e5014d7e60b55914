"""What a comparison holds. Plain values."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal, get_args

from moebench.board.model import Measure, Timing

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
    by Holm's rule over all rows that are compared. seeds: how many both have. reason: why it is not compared, or what
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
    reason: str = ""
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
    no_latency: str = ""

    @property
    def counts(self) -> dict[Verdict, int]:
        """How many rows have each verdict; those that none has are left out."""
        found = Counter(pair.verdict for pair in self.pairs)
        return {verdict: found[verdict] for verdict in ORDER if found[verdict]}

    @property
    def worse(self) -> bool:
        """Whether anything became worse."""
        return any(pair.verdict == "worse" for pair in self.pairs)
