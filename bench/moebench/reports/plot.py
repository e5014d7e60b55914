"""Figures of a report: each a function from the evidence to a drawing, or None where nothing of it has run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moebench.board.style import inline, png, settle, styled, svg
from moebench.reports.evidence import Evidence

if TYPE_CHECKING:
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
