"""The page's drawings of a board, by matplotlib: what a table cannot show at a glance."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moebench.board import curves, numbers, scatter, words
from moebench.board.model import Board, Entry
from moebench.board.style import inline, png, settle, styled, svg

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Chart:
    """A drawing in the page. name: its id. reading: how to read it. note: what it shows, or what it leaves out."""

    name: str
    title: str
    reading: str
    markup: Markup
    note: str = ""


Draw = Callable[[Board, int], "Figure | None"]
"""Draws the rung of that place; None where there is nothing to draw."""

Asked = tuple[str, str, str, Draw, str]
"""Name, title, reading, drawing, note."""


def of_rung(board: Board, index: int) -> list[Chart]:
    """Scatter, retention and effort at one budget; those of which there is nothing to draw are left out."""
    return _charts(board, index, _asked(board, index))


def of_ladder(board: Board) -> list[Chart]:
    """Quality against budget, where the suite has several."""
    return _charts(board, 0, _asked_of_ladder(board))


def figures(board: Board) -> dict[str, bytes]:
    """All of them as PNG files on white paper, by name."""
    asked = [(0, each) for each in _asked_of_ladder(board)]
    asked += [(index, each) for index in range(len(board.rungs)) for each in _asked(board, index)]
    files = {}
    for index, (name, _, _, draw, _) in asked:
        with _drawn(board, index, draw) as figure:
            if figure is not None:
                files[f"{name}.png"] = png(figure)
    return files


def _asked(board: Board, index: int) -> list[Asked]:
    note, score = scatter.left_out(board.rungs[index]), words.score_name(board)
    return [
        (f"scatter-{index}", scatter.TITLE, scatter.READING, scatter.draw, note),
        (f"retention-{index}", curves.RETENTION, curves.RETENTION_READING, curves.retention, ""),
        (f"effort-{index}", curves.EFFORT, curves.EFFORT_READING.format(score=score), curves.effort, ""),
    ]


def _asked_of_ladder(board: Board) -> list[Asked]:
    if len(board.rungs) < 2:
        return []
    return [("ladder", curves.LADDER, curves.LADDER_READING, curves.ladder, curves.crossings(board))]


def _charts(board: Board, index: int, asked: list[Asked]) -> list[Chart]:
    charts = []
    for name, title, reading, draw, note in asked:
        markup = _as_markup(board, index, name, f"{title}. {reading}", draw)
        if markup is not None:
            charts.append(Chart(name, title, reading, markup, note))
    return charts


@contextmanager
def _drawn(board: Board, index: int, draw: Draw) -> Iterator[Figure | None]:
    """The drawing of a rung, laid out, in the style of all figures."""
    with styled(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # the page's own fonts may have it
        figure = draw(board, index)
        if figure is not None:
            settle(figure)
        yield figure


def _as_markup(board: Board, index: int, name: str, label: str, draw: Draw) -> Markup | None:
    """The drawing of a rung; None where there is nothing to draw."""
    from markupsafe import Markup, escape

    with _drawn(board, index, draw) as figure:
        if figure is None:
            return None
        text = inline(svg(figure), name, label)
    entries = board.rungs[index].entries

    def linked(match: re.Match[str]) -> str:
        row = int(match["row"])
        return f'<a href="#row-{index}-{row}" data-row="{row}"><title>{escape(_said(entries[row]))}</title>'

    return Markup(re.sub(rf'<a xlink:href="{scatter.ROW}(?P<row>\d+)"[^>]*>', linked, text))


def _said(entry: Entry) -> str:
    """A row's numbers in a line, for a pointer that rests on it."""
    parts = [numbers.shown_name(entry.variant), numbers.with_interval(entry.representation)]
    return ", ".join([*parts, *([numbers.latency(entry.latency)] if entry.latency else [])])
