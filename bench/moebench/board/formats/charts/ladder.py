"""Quality against budget, where a suite has several: does the order hold?"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from moebench.board.formats import words
from moebench.board.formats.charts.rows import paints
from moebench.board.formats.numbers import shown_name
from moebench.board.model import Board, Entry, Measure
from moebench.board.rules import AXIS_WORDS
from moebench.drawing.style import panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Quality against budget"
READING = "A line for each row that is scored at every budget; bars are 95 % intervals. Lines that cross change places."


def draw(board: Board, index: int) -> Figure | None:
    """One panel; the order of rows and their looks are those of the first budget."""
    entries = board.rungs[index].entries
    lines = {i: _line(board, entry.variant) for i, entry in enumerate(entries)}
    drawn = {i: line for i, line in lines.items() if line}
    if not drawn:
        return None
    looks = paints(entries)
    budgets = [rung.budget for rung in board.rungs]
    figure, (axis,) = panels(1, height=4.6)
    handles, labels = [], []
    for place, (i, line) in enumerate(drawn.items()):
        shifted = [budget * (1 + 0.012 * (place - len(drawn) / 2)) for budget in budgets]
        (mark,) = axis.plot(shifted, [m.value for m in line], marker="o", **looks[i].line)
        mark.set_gid(f"curve-0-0-{i}")
        for x, m in zip(shifted, line, strict=True):
            if m.low is not None and m.high is not None:
                axis.plot([x, x], [m.low, m.high], color=looks[i].colour, linewidth=1, alpha=0.5)
        if looks[i].named:
            handles.append(mark)
            labels.append(shown_name(entries[i].variant, 26))
    axis.set_xscale("log")
    axis.set_xticks(budgets, labels=[f"{budget:,}" for budget in budgets])
    axis.set_xticks([], minor=True)
    axis.set_xlabel(f"{AXIS_WORDS[board.axis]} of the expert layers")
    axis.set_title(f"test {words.score_name(board)}")
    figure.legend(handles=handles, labels=labels, loc="outside right center")
    return figure


def crossings(board: Board) -> str:
    """The pairs of rows whose ranks lie apart at both ends of the ladder, in opposite order, as a sentence."""
    first, *_, last = board.rungs
    low = {entry.variant: entry for entry in first.entries if entry.rank}
    high = {entry.variant: entry for entry in last.entries if entry.rank}
    found = [
        f"{shown_name(a)} is ahead of {shown_name(b)} at {first.budget:,} and behind it at {last.budget:,}"
        for x, y in combinations(sorted(low.keys() & high.keys()), 2)
        for a, b in ((x, y), (y, x))
        if _ahead(low[a], low[b]) and _ahead(high[b], high[a])
    ]
    if not found:
        return "No two rows change places by ranks that lie apart at the smallest and at the largest budget."
    return f"By ranks that lie apart, {'; '.join(found)}."


def _ahead(a: Entry, b: Entry) -> bool:
    return a.rank is not None and b.rank is not None and a.rank[1] < b.rank[0]


def _line(board: Board, variant: str) -> list[Measure]:
    """The row's score at each budget; empty where one is missing."""
    found = [entry.representation for rung in board.rungs for entry in rung.entries if entry.variant == variant]
    known = [measure for measure in found if measure is not None]
    return known if len(known) == len(board.rungs) else []
