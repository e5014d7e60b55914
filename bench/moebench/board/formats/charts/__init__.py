"""The page's drawings of a board, by matplotlib: what a table cannot show at a glance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moebench.board.formats import words
from moebench.board.formats.charts import curves, ladder, scatter
from moebench.board.formats.charts.markup import Draw, as_markup, drawn
from moebench.board.model import Board
from moebench.drawing.style import png

if TYPE_CHECKING:
    from markupsafe import Markup


@dataclass(frozen=True)
class Chart:
    """A drawing in the page. name: its id. reading: how to read it. note: what it shows, or what it leaves out."""

    name: str
    title: str
    reading: str
    markup: Markup
    note: str = ""


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
        with drawn(board, index, draw) as figure:
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
    return [("ladder", ladder.TITLE, ladder.READING, ladder.draw, ladder.crossings(board))]


def _charts(board: Board, index: int, asked: list[Asked]) -> list[Chart]:
    charts = []
    for name, title, reading, draw, note in asked:
        markup = as_markup(board, index, name, f"{title}. {reading}", draw)
        if markup is not None:
            charts.append(Chart(name, title, reading, markup, note))
    return charts
