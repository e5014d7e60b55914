"""A board, a comparison and a report of checks in a notebook: small tables with bars; and the board as a data frame."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from moebench.board import words
from moebench.board.compare import Comparison
from moebench.board.data import lines
from moebench.board.model import Board, Entry, Estimate, Rung
from moebench.board.numbers import latency, rank, short, shown_name, with_interval
from moebench.plans.rows import BASELINE
from moebench.text import one_line

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

BAR = 90
"""Pixels of the longest bar."""

MOST_REMARKS = 12
"""Remarks of a board; the rest is counted."""

CELL = ' style="text-align:left;padding-right:12px"'


def board_html(board: Board) -> str:
    """A line of HTML for each row, with a bar for its score and its interval; remarks below."""
    parts = []
    for rung in board.rungs:
        timed = (f"latency, batch {board.latency_batch}", "latency, batch 1")
        titles = ("rank", "variant", f"test {words.score_name(board)}", "", "vs dense", *timed, "active")
        parts += [f"<p><b>{_text(words.heading(board, rung.budget))}</b><br>{_text(words.how_ranked(board))}</p>"]
        remarks = words.grouped(words.remarks(rung))
        said = [f"<b>{_text(name)}</b> {_text(sentence)}" for name, sentence in remarks[:MOST_REMARKS]]
        said += [f"and {len(remarks) - MOST_REMARKS} more remarks"] if len(remarks) > MOST_REMARKS else []
        said += map(_text, words.against(rung))
        parts += [
            table_html(titles, [_row(rung, entry) for entry in rung.entries]),
            f"<small>{'<br>'.join(said)}</small>",
        ]
    return "\n".join([*parts, f"<small>{' '.join(map(_text, words.footer(board)))}</small>"])


def table_html(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table, a line of text for each row; its cells are HTML already."""
    head = "".join(f"<th{CELL}>{_text(title)}</th>" for title in titles)
    body = ["<tr>" + "".join(f"<td{CELL}>{cell}</td>" for cell in row) + "</tr>" for row in rows]
    return "\n".join([f"<table><tr>{head}</tr>", *body, "</table>"])


def comparison_html(found: Comparison) -> str:
    """A line for each row of the two result sets: its verdict, the scores, and the difference."""
    rows = []
    for pair in found.pairs:
        cells = (with_interval(pair.a), with_interval(pair.b), with_interval(pair.difference, sign=True))
        rows.append([_text(pair.verdict), _text(shown_name(pair.row)), *map(_text, cells)])
    title = f"<p><b>{_text(found.suite)}</b> B compared with A, by {_text(found.metric)}</p>"
    return f"{title}\n{table_html(('verdict', 'variant', 'A', 'B', 'B - A'), rows)}"


def to_pandas(board: Board) -> pandas.DataFrame:
    """A line for each row of each budget, with the columns of the board's CSV."""
    import pandas

    return pandas.DataFrame(lines(board))


def plot(board: Board, budget: int | None = None) -> Figure:
    """The scores of the rows with their intervals, the best first, as a figure of matplotlib.

    budget: which one; the first by default. KeyError for one that the board does not have.
    """
    from matplotlib.figure import Figure

    rungs = {rung.budget: rung for rung in board.rungs}
    rung = rungs[board.budget if budget is None else budget]
    shown = [(entry, entry.representation) for entry in reversed(rung.entries) if entry.representation]
    figure = Figure(figsize=(6, 0.8 + 0.3 * len(shown)), layout="constrained")
    axes = figure.subplots()
    for place, (entry, score) in enumerate(shown):
        low, high = _bounds(score)
        errors = [[score.value - low], [high - score.value]]
        axes.errorbar(score.value, place, xerr=errors, fmt="o", color="C0" if entry.rank else "0.6")
    axes.set_yticks(range(len(shown)), [shown_name(entry.variant, 30) for entry, _ in shown])
    axes.set_xlabel(f"test {words.score_name(board)}, with 95 % intervals")
    axes.set_title(f"{board.suite}, {rung.budget:,}", fontsize="medium")
    return figure


def _row(rung: Rung, entry: Entry) -> list[str]:
    texts = (
        rank(entry.rank),
        shown_name(entry.variant),
        with_interval(entry.representation),
        with_interval(entry.vs_dense if entry.variant != BASELINE else None, sign=True),
        latency(entry.latency),
        latency(entry.latency_batch1),
        short(entry.counts.active_params if entry.counts else None),
    )
    cells = [_text(text) for text in texts]
    return [*cells[:3], _bar(rung, entry.representation), *cells[3:]]


def _bar(rung: Rung, score: Estimate | None) -> str:
    """From the lowest bound of the board to the score; the interval is drawn over its end."""
    known = [entry.representation for entry in rung.entries if entry.representation]
    if score is None:
        return ""
    bounds = [bound for each in known for bound in _bounds(each)]
    low, width = min(bounds), (max(bounds) - min(bounds)) or 1.0
    at = [round(BAR * (value - low) / width) for value in (score.value, *_bounds(score))]
    bar = f'<div style="position:absolute;left:0;top:3px;height:8px;width:{at[0]}px;background:#7aa6c2"></div>'
    place = f"left:{at[1]}px;top:6px;height:2px;width:{at[2] - at[1]}px"
    line = f'<div style="position:absolute;{place};background:#333"></div>'
    return f'<div style="position:relative;width:{BAR}px;height:14px">{bar}{line}</div>'


def _bounds(score: Estimate) -> tuple[float, float]:
    """The interval; the score itself where there is none."""
    return (score.value, score.value) if score.low is None or score.high is None else (score.low, score.high)


def _text(text: Any) -> str:
    return html.escape(one_line(str(text)))
