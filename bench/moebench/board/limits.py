"""What an engineer allows a row, and whether the row keeps to it on every task."""

from __future__ import annotations

from dataclasses import dataclass

from moebench.board.model import Entry, Measure


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """met: by the values measured. sure: whether the intervals say the same. reason: why it is not met, or not surely;
    empty where it surely is.
    """

    met: bool
    sure: bool = True
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a row must meet on every task: its latency as a ratio to dense, its active parameters. None: no limit."""

    latency_ratio: float | None = None
    active: int | None = None

    @property
    def words(self) -> str:
        """``latency at most 0.8x dense, at most 100,000 active parameters``."""
        parts = [] if self.latency_ratio is None else [f"latency at most {self.latency_ratio:g}x dense"]
        parts += [] if self.active is None else [f"at most {self.active:,} active parameters"]
        return ", ".join(parts)

    def verdict(self, entry: Entry) -> Verdict:
        """Whether a row meets them; one that is not compared for another reason does not."""
        if entry.representation is None:
            return Verdict(met=False, reason=entry.representation_reason or "it has no score")
        if entry.rank is None and not entry.reference:
            return Verdict(met=False, reason=entry.reason or "it has no rank")
        if reason := self._too_large(entry):
            return Verdict(met=False, reason=reason)
        return Verdict(met=True) if self.latency_ratio is None else _fast_enough(entry, self.latency_ratio)

    def _too_large(self, entry: Entry) -> str:
        if self.active is None:
            return ""
        counted = [(task.counts.active_params, task.name) for task in entry.tasks if task.counts]
        if len(counted) < len(entry.tasks):
            return "its active parameters are not known"
        most, task = max(counted)
        return "" if most <= self.active else f"it has {most:,} active parameters{_on(task, entry)}"


def _fast_enough(entry: Entry, limit: float) -> Verdict:
    timed = [(task.latency.ratio_to_dense, task.name) for task in entry.tasks if task.latency]
    ratios = [(ratio, name) for ratio, name in timed if ratio is not None]
    if not ratios or len(ratios) < len(entry.tasks):
        why = entry.latency_reason or "it has no ratio to dense"
        return Verdict(met=False, reason=f"its latency is not known: {why}")
    slowest, task = max(ratios, key=lambda each: each[0].value)
    if slowest.value > limit:
        sure = any(ratio.low is not None and ratio.low > limit for ratio, _ in ratios)
        reason = f"its latency is {_apart(slowest.value, limit)}x dense{_on(task, entry)}"
        return Verdict(met=False, sure=sure, reason=reason if sure else f"{reason}, its interval {_bounds(slowest)}")
    unsure = [(ratio, name) for ratio, name in ratios if ratio.high is None or ratio.high > limit]
    if not unsure:
        return Verdict(met=True)
    highest, task = max(unsure, key=lambda each: each[0].value)
    return Verdict(met=True, sure=False, reason=f"its latency ratio{_on(task, entry)} lies in {_bounds(highest)}")


def _on(task: str, entry: Entry) -> str:
    return f" on {task}" if len(entry.tasks) > 1 else ""


def _bounds(ratio: Measure) -> str:
    return "unknown bounds" if ratio.low is None or ratio.high is None else f"{ratio.low:.2f} to {ratio.high:.2f}"


def _apart(value: float, limit: float) -> str:
    """With two decimals, or as many as tell it from the limit."""
    return next((text for n in range(2, 6) if float(text := f"{value:.{n}f}") > limit), f"{value:.6g}")
