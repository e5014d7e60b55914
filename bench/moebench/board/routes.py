"""Heat maps of a board of text: which experts the most frequent tokens are sent to, and those of each domain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from moebench.board.model import Board, Entry, RouteTable, TaskResult
from moebench.board.numbers import shown_name
from moebench.board.style import panels
from moebench.text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 8
"""Rows in a figure."""

COLUMNS = 4

TITLES: Mapping[str, str] = {"token": "Experts of the most frequent tokens", "group": "Experts of each domain"}

READING = (
    "In the last layer of the first final run: the share of a row's choices that each expert takes, yellow for the "
    "largest in the panel. Experts stand in the order of the row that each serves most; they have no other order, and "
    "none that is the same in another run."
)


def tokens(board: Board, index: int) -> Figure | None:
    """A panel for each of the first rows with experts."""
    return _drawn(board, index, "token")


def domains(board: Board, index: int) -> Figure | None:
    """The same of groups of tokens."""
    return _drawn(board, index, "group")


def _drawn(board: Board, index: int, kind: str) -> Figure | None:
    found = [
        (entry, task, table)
        for entry in board.rungs[index].entries
        for task in entry.tasks
        if (table := task.routes.get(kind)) is not None
    ][:MOST]
    if not found:
        return None
    most = max(len(table.labels) for *_, table in found)
    figure, axes = panels(len(found), height=0.9 + 0.13 * most, columns=COLUMNS)
    for axis, (entry, task, table) in zip(axes, found, strict=True):
        _panel(axis, table, _title(entry, task, several=len(entry.tasks) > 1))
    figure.supxlabel("experts", fontsize="medium")
    return figure


def _title(entry: Entry, task: TaskResult, *, several: bool) -> str:
    return shown_name(entry.variant, 22) + (f", {shown_name(task.name, 14)}" if several else "")


def _panel(axis: Axes, table: RouteTable, title: str) -> None:
    share_RE = in_order(np.array(table.share))
    axis.pcolormesh(share_RE, cmap="cividis", vmin=0, edgecolors="face", linewidth=0.3)
    axis.set_yticks(np.arange(len(table.labels)) + 0.5, labels=[printable(each)[:12] for each in table.labels])
    axis.tick_params(axis="y", labelsize=6, length=0)
    axis.set_xticks([])
    axis.set_ylim(len(table.labels), 0)
    axis.grid(visible=False)
    axis.set_title(title, fontsize=8)


def in_order(share_RE: NDArray[np.float64]) -> NDArray[np.float64]:
    """Experts by the row that each serves most, those of one row by how much."""
    ordered: NDArray[np.float64] = share_RE[:, np.lexsort((-share_RE.max(0), share_RE.argmax(0)))]
    return ordered
