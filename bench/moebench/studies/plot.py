"""Figures of a report: each a function from the evidence to a drawing, or None, and what several of them draw."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from moebench.board.style import SOFT, can_draw, inline, panels, png, settle, styled, svg
from moebench.errors import PluginError
from moebench.studies.claim import mean
from moebench.studies.evidence import Array, Evidence, Run, Series
from moebench.text import told

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


DASHED = (0, (5, 2))
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
    seen: Callable[[Evidence], str] = lambda evidence: ""


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
    """What can be drawn, and what cannot because nothing of it has run; parts outside the report are left out, and
    without matplotlib all.
    """
    if not can_draw():
        return [], []
    parts, drawn, absent = {part.name for part in evidence.parts}, [], []
    for plot in plots:
        if plot.part not in parts:
            continue
        with styled():
            try:
                figure = plot.draw(evidence)
            except Exception as error:  # the study's author's
                raise PluginError(
                    f"the plot '{plot.name}' could not be drawn: {told(error)}.",
                    code="plot-raised",
                    plot=plot.name,
                ) from error
            if figure is None:
                absent.append(plot)
                continue
            settle(figure)
            caption = " ".join(filter(None, (plot.seen(evidence), plot.reading)))
            drawn.append(Drawing(plot.name, plot.title, caption, svg(figure), png(figure)))
    return drawn, absent


def frames(
    titles: Sequence[str],
    x: str = "",
    y: str = "",
    *,
    height: float = 3.2,
    columns: int | None = None,
    ylim: tuple[float, float] | None = None,
    **share: Any,
) -> tuple[Figure, list[Axes]]:
    """A figure with a panel for each title. x: under each panel, or under the lowest where they share it. y: beside the
    first panel of each row.
    """
    columns = min(columns or len(titles), len(titles))
    figure, axes = panels(len(titles), height=height, columns=columns, **share)
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title)
        if ylim:
            axis.set_ylim(ylim)
    for axis in axes[-columns:] if share.get("sharex") else axes:
        axis.set_xlabel(x)
    for axis in axes[::columns]:
        axis.set_ylabel(y)
    return figure, axes


def legend(figure: Figure, axes: Iterable[Axes], **how: Any) -> None:
    """One legend for all panels, by default beside them."""
    found = {label: line for axis in axes for line, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend([*found.values()], [*found], **{"loc": "outside right center", **how})


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


def level(axis: Axes, values: Series, **style: Any) -> None:
    """The mean as a dashed line."""
    if found := mean(values):
        axis.axhline(found.value, **{"color": SOFT, "linestyle": DASHED, "linewidth": 1, **style})


def row_names(axis: Axes, names: Sequence[str]) -> None:
    """A named row at each y, from the top."""
    axis.set_yticks(range(len(names)), labels=names)
    axis.set_ylim(len(names) - 0.5, -0.5)


def by_class(runs: Iterable[Run], name: str, *, relative: bool = False) -> Array | None:
    """An array (C, E) of the first run that has it, experts sorted by the class of their largest value.

    relative: over the mean of each class.
    """
    for run in runs:
        values_CE = run.arrays.get(name)
        if values_CE is not None and values_CE.ndim == 2:
            if relative:
                values_CE = values_CE / values_CE.mean(axis=1, keepdims=True)
            ordered: Array = values_CE[:, np.lexsort((-values_CE.max(axis=0), values_CE.argmax(axis=0)))]
            return ordered
    return None


def heat_map(axis: Axes, values_CE: Array, highest: float, classes: Sequence[str]) -> Any:
    """What experts are to classes, darkest at 0."""
    mesh = axis.pcolormesh(values_CE, cmap="cividis", vmin=0, vmax=highest, edgecolors="face", linewidth=0.3)
    axis.set_yticks(np.arange(len(classes)) + 0.5, labels=classes)
    axis.set_ylim(len(classes), 0)
    axis.grid(visible=False)
    return mesh


def colour_bar(figure: Figure, mesh: Any, axes: Sequence[Axes], label: str, **how: Any) -> None:
    """The scale of heat maps; and under them what their columns are."""
    figure.supxlabel("experts, in the order of the class that each serves most", fontsize="medium")
    colours = figure.colorbar(mesh, ax=axes, shrink=0.9, pad=0.01, **how)
    colours.set_label(label)
    assert colours.solids is not None
    colours.solids.set(rasterized=False, edgecolor="face", linewidth=0.3)  # a page shows no image from within
    colours.outline.set_edgecolor(SOFT)


def share_label(share: float) -> str:
    """``1/8`` for 0.125."""
    return "1" if share == 1 else f"1/{round(1 / share)}"
