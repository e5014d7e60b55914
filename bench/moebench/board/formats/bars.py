"""Where the pages' small drawings go: plain geometry, drawn by the template as SVG."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from moebench.board.model import Measure

WIDTH = 100.0
MARGIN = 0.04
"""Share of the range that is left free at both ends."""


@dataclass(frozen=True)
class Bar:
    """A value, its interval, and the scale's mark, as places between 0 and WIDTH."""

    value: float
    low: float
    high: float
    mark: float | None


@dataclass(frozen=True)
class Scale:
    """A linear scale over everything that is drawn with it."""

    low: float
    high: float
    mark: float | None = None

    @classmethod
    def over(cls, measures: Iterable[Measure | None], *, mark: float | None = None) -> Scale | None:
        """The scale that holds all intervals and the mark; None where there is nothing to draw."""
        known = [m for m in measures if m is not None]
        ends = [end for m in known for end in (m.value, m.low, m.high) if end is not None]
        if not ends:
            return None
        ends += [] if mark is None else [mark]
        low, high = min(ends), max(ends)
        margin = MARGIN * (high - low) or 0.5
        return cls(low - margin, high + margin, mark)

    def at(self, value: float) -> float:
        """Where a value lies, to a tenth."""
        return round(WIDTH * (value - self.low) / (self.high - self.low), 1)

    def bar(self, measure: Measure) -> Bar:
        """The drawing of one interval; without bounds it is a point."""
        low = measure.value if measure.low is None else measure.low
        high = measure.value if measure.high is None else measure.high
        mark = None if self.mark is None else self.at(self.mark)
        return Bar(self.at(measure.value), self.at(low), self.at(high), mark)


def curve(values: Sequence[float], height: float = 30.0) -> str:
    """The points of an SVG polyline, the largest value at the top; empty for fewer than two values."""
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    step = WIDTH / (len(values) - 1)
    points = []
    for index, value in enumerate(values):
        share = (value - low) / (high - low) if high > low else 0.5
        points.append(f"{index * step:.1f},{height * (1 - share):.1f}")
    return " ".join(points)
