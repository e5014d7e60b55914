"""Figures of a report: each a function from the evidence to a drawing, or None, and what several of them draw."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moebench.board.style import inline, png, settle, styled, svg
from moebench.studies.claim import mean
from moebench.studies.evidence import Evidence, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


Words = Callable[[Evidence], str]

BANDS = "Bands are 95 % intervals over training seeds."
BARS = "Bars are 95 % intervals over training seeds."


@dataclass(frozen=True, kw_only=True)
class Plot:
    """name: of its files. part: the suite it draws. reading: how to read it. seen: what it shows, with numbers."""

    name: str
    part: str
    title: str
    reading: str
    draw: Callable[[Evidence], Figure | None]
    seen: Words = lambda evidence: ""


@dataclass(frozen=True)
class Drawing:
    """A figure as it is written and shown. markup: for the page, which gives it colours."""

    name: str
    title: str
    caption: str
    svg: str
    png: bytes

    @property
    def markup(self) -> str:
        """The SVG as part of a page."""
        return inline(self.svg, self.name, f"{self.title}. {self.caption}")


def draw(plots: Iterable[Plot], evidence: Evidence) -> tuple[list[Drawing], list[Plot]]:
    """What can be drawn, and what cannot because nothing of it has run; parts outside the report are left out."""
    parts, drawn, absent = {part.name for part in evidence.parts}, [], []
    for plot in plots:
        if plot.part in parts:
            drawing = _draw(plot, evidence)
            if drawing:
                drawn.append(drawing)
            else:
                absent.append(plot)
    return drawn, absent


def _draw(plot: Plot, evidence: Evidence) -> Drawing | None:
    with styled():
        figure = plot.draw(evidence)
        if figure is None:
            return None
        settle(figure)
        caption = " ".join(filter(None, (plot.seen(evidence), plot.reading)))
        return Drawing(plot.name, plot.title, caption, svg(figure), png(figure))


def curve(axis: Axes, points: Mapping[float, Series], colour: str, **style: Any) -> bool:
    """Means over seeds at each x, joined, with a band over their intervals; whether there was anything to draw."""
    known = [(x, found) for x, values in sorted(points.items()) if (found := mean(values))]
    if not known:
        return False
    axis.plot([x for x, _ in known], [found.value for _, found in known], color=colour, **style)
    bounded = [(x, f.low, f.high) for x, f in known if f.low is not None and f.high is not None]
    if bounded:
        x, low, high = zip(*bounded, strict=True)
        axis.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
    return True


def bar(axis: Axes, x: float, values: Series, colour: str, *, across: bool = False, **style: Any) -> None:
    """One mean with its interval, upwards or across."""
    found = mean(values)
    if found is None:
        return
    place = (found.value, x) if across else (x, found.value)
    if found.low is not None and found.high is not None:
        ends = [[found.value - found.low], [found.high - found.value]]
        error: dict[str, Any] = {"xerr" if across else "yerr": ends}
        axis.errorbar(*place, **error, color=colour, elinewidth=1.4, capsize=0, fmt="none")
    axis.plot(*place, color=colour, linestyle="none", **{"marker": "o", **style})


def share_label(share: float) -> str:
    """``1/8`` for 0.125."""
    return "1" if share == 1 else f"1/{round(1 / share)}"
