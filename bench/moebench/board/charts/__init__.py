"""The page's drawings of a board, by matplotlib: what a table cannot show at a glance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moebench.board.charts import curves, ladder, scatter
from moebench.board.charts.markup import as_markup
from moebench.board.model import Board

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


def of_rung(board: Board, index: int) -> list[Chart]:
    """Scatter, retention and effort at one budget; those of which there is nothing to draw are left out."""
    note = scatter.left_out(board.rungs[index])
    return _drawn(
        board,
        index,
        (f"scatter-{index}", scatter.TITLE, scatter.READING, scatter.draw, note),
        (f"retention-{index}", curves.RETENTION, curves.RETENTION_READING, curves.retention, ""),
        (f"effort-{index}", curves.EFFORT, curves.EFFORT_READING, curves.effort, ""),
    )


def of_ladder(board: Board) -> list[Chart]:
    """Quality against budget, where the suite has several."""
    if len(board.rungs) < 2:
        return []
    return _drawn(board, 0, ("ladder", ladder.TITLE, ladder.READING, ladder.draw, ladder.crossings(board)))


def _drawn(
    board: Board, index: int, *asked: tuple[str, str, str, Callable[[Board, int], Figure | None], str]
) -> list[Chart]:
    charts = []
    for name, title, reading, draw, note in asked:
        markup = as_markup(board, index, name, f"{title}. {reading}", draw)
        if markup is not None:
            charts.append(Chart(name, title, reading, markup, note))
    return charts
