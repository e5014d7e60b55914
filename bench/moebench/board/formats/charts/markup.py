"""A figure as part of the page: its points link to their rows, and say which they are."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from moebench.board.formats import numbers
from moebench.board.model import Board, Entry
from moebench.drawing.style import inline, settle, styled, svg

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure

Draw = Callable[[Board, int], "Figure | None"]
"""Draws the rung of that place; None where there is nothing to draw."""

ROW = "row:"
"""What a drawing links to, followed by the place of the row in its rung; names never get into a link."""


@contextmanager
def drawn(board: Board, index: int, draw: Draw) -> Iterator[Figure | None]:
    """The drawing of a rung, laid out, in the style of all figures."""
    with styled(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # the page's own fonts may have it
        figure = draw(board, index)
        if figure is not None:
            settle(figure)
        yield figure


def as_markup(board: Board, index: int, name: str, label: str, draw: Draw) -> Markup | None:
    """The drawing of a rung; None where there is nothing to draw."""
    from markupsafe import Markup, escape

    with drawn(board, index, draw) as figure:
        if figure is None:
            return None
        text = inline(svg(figure), name, label)
    entries = board.rungs[index].entries

    def linked(match: re.Match[str]) -> str:
        row = int(match["row"])
        return f'<a href="#row-{index}-{row}" data-row="{row}"><title>{escape(said(entries[row]))}</title>'

    return Markup(re.sub(rf'<a xlink:href="{ROW}(?P<row>\d+)"[^>]*>', linked, text))


def said(entry: Entry) -> str:
    """A row's numbers in a line, for a pointer that rests on it."""
    parts = [numbers.shown_name(entry.variant), numbers.with_interval(entry.representation)]
    return ", ".join([*parts, *([numbers.latency(entry.latency)] if entry.latency else [])])
