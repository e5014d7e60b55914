"""The page's drawings of a board, by matplotlib: what a table cannot show at a glance."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from moebench.board import compute, curves, numbers, routes, scatter
from moebench.board.model import Board, Entry
from moebench.board.style import can_draw, inline, png, settle, styled, svg

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Chart:
    """A drawing in the page.

    name: its id. reading: how to read it. draw: draws the rung of that place; None where there is nothing to draw.
    note: what it shows, or what it leaves out. task: ``task-<place>`` of a drawing of one task. markup: the drawing.
    """

    name: str
    title: str
    reading: str
    draw: Callable[[Board, int], Figure | None]
    note: str = ""
    task: str = ""
    markup: Markup | None = None


def of_rung(board: Board, index: int) -> list[Chart]:
    """Those of one budget, the scatter first; those of which there is nothing to draw are left out."""
    return _drawn(board, index, _rung_charts(board, index))


def of_ladder(board: Board) -> list[Chart]:
    """Quality against budget, where the suite has several."""
    return _drawn(board, 0, _ladder_charts(board))


def figures(board: Board) -> dict[str, bytes]:
    """All of them as PNG files on white paper, by name."""
    charts = [(0, chart) for chart in _ladder_charts(board)]
    charts += [(index, chart) for index in range(len(board.rungs)) for chart in _rung_charts(board, index)]
    files = {}
    for index, chart in charts:
        with _figure(board, index, chart) as figure:
            if figure is not None:
                files[f"{chart.name}.png"] = png(figure)
    return files


def _rung_charts(board: Board, index: int) -> list[Chart]:
    note = scatter.left_out(board.rungs[index])
    return [
        Chart(f"scatter-{index}", scatter.TITLE, scatter.reading(board), scatter.draw, note),
        *_of_tasks(board, index),
        Chart(f"batch1-{index}", scatter.OF_ONE, scatter.reading_of_one(board), scatter.draw_of_one, note),
        Chart(f"compute-{index}", compute.TITLE, compute.READING, compute.draw),
        Chart(f"retention-{index}", curves.RETENTION, curves.RETENTION_READING, curves.retention),
        Chart(f"effort-{index}", curves.EFFORT, curves.effort_reading(board), curves.effort),
        Chart(f"training-{index}", curves.TRAINING, curves.TRAINING_READING, curves.training),
        Chart(f"tokens-{index}", routes.TITLES["token"], routes.READING, routes.tokens),
        Chart(f"domains-{index}", routes.TITLES["group"], routes.READING, routes.domains),
    ]


def _of_tasks(board: Board, index: int) -> list[Chart]:
    """Quality on each task against cost, where the suite has several."""
    places = range(len(board.tasks)) if len(board.tasks) > 1 else ()
    titles = [f"{scatter.TITLE}, {board.tasks[n].label}" for n in places]
    readings = [scatter.task_reading(board, n) for n in places]
    draws = [partial(scatter.draw_task, task=n) for n in places]
    return [Chart(f"scatter-{index}-task-{n}", titles[n], readings[n], draws[n], task=f"task-{n}") for n in places]


def _ladder_charts(board: Board) -> list[Chart]:
    if len(board.rungs) < 2:
        return []
    return [Chart("ladder", curves.LADDER, curves.LADDER_READING, curves.ladder, curves.crossings(board))]


@contextmanager
def _figure(board: Board, index: int, chart: Chart) -> Iterator[Figure | None]:
    """The drawing of a rung, laid out, in the style of all figures; None without matplotlib, too."""
    if not can_draw():
        yield None
        return
    with styled(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # the page's own fonts may have it
        figure = chart.draw(board, index)
        if figure is not None:
            settle(figure)
        yield figure


def _drawn(board: Board, index: int, charts: Sequence[Chart]) -> list[Chart]:
    """The charts with their markup, in which each point of a row links to it."""
    from markupsafe import Markup, escape

    entries = board.rungs[index].entries

    def linked(match: re.Match[str]) -> str:
        row = int(match["row"])
        return f'<a href="#row-{index}-{row}" data-row="{row}"><title>{escape(_numbers(entries[row]))}</title>'

    found = []
    for chart in charts:
        with _figure(board, index, chart) as figure:
            if figure is not None:
                text = inline(svg(figure), chart.name, f"{chart.title}. {chart.reading}")
                text = re.sub(rf'<a xlink:href="{scatter.ROW}(?P<row>\d+)"[^>]*>', linked, text)
                found.append(replace(chart, markup=Markup(text)))
    return found


def _numbers(entry: Entry) -> str:
    """A row's numbers in a line, for a pointer that rests on it."""
    parts = [numbers.shown_name(entry.variant), numbers.with_interval(entry.representation)]
    return ", ".join([*parts, *([numbers.latency(entry.latency)] if entry.latency else [])])
