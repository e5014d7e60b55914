"""The board in a terminal: columns give way where it is narrow, and no number is broken over two lines."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from moebench.board.formats import words
from moebench.board.formats.numbers import MISSING, latency, rank, short, shown_name, with_interval
from moebench.board.model import Board, Entry, Measure, Rung
from moebench.planning.rows import BASELINE

GAP = 2
NARROWEST_NAME = 8
LONG_NAME = 20
"""A longer name is folded before a column gives way."""


@dataclass(frozen=True)
class Column:
    """``gives_way``: columns with a higher number go first where there is no room; 0 stays."""

    title: str
    cell: Callable[[Entry], str]
    justify: Literal["left", "right"] = "left"
    gives_way: int = 0

    def width(self, entries: Sequence[Entry]) -> int:
        """Characters it takes without breaking."""
        return max(len(self.title), *(len(self.cell(entry)) for entry in entries))


def to_table(board: Board, width: int = 100) -> str:
    """The table as text of at most ``width`` characters a line, without colours."""
    buffer = io.StringIO()
    print_board(board, Console(file=buffer, width=width, color_system=None, force_terminal=False))
    return "".join(f"{line.rstrip()}\n" for line in buffer.getvalue().splitlines())


def print_board(board: Board, console: Console) -> None:
    """Print every budget's table with what a reader needs around it."""
    for index, rung in enumerate(board.rungs):
        if index:
            _say(console, "")
        _say(console, Text(words.heading(board, rung.budget), style="bold"))
        _say(console, words.how_ranked(board))
        table, hidden = _table(words.score_name(board), rung.entries, console.width)
        console.print(table)
        if hidden:
            _say(console, f"A wider terminal also shows: {', '.join(hidden)}.")
        if len(board.tasks) > 1:
            _print_tasks(board, rung, console)
        for name, sentence in words.remarks(rung):
            _say(console, Text.assemble((f"{name}  ", "bold"), sentence))
        for note in (*words.against(rung), words.latency_note(board, rung)):
            _say(console, note)
    for name, sentence in words.strangers(board):
        _say(console, Text.assemble((f"{name}  ", "bold"), sentence))
    for note in filter(None, (*words.footer(board), words.verified(board))):
        _say(console, note)


def _say(console: Console, text: str | Text) -> None:
    console.print(text if isinstance(text, Text) else Text(text), highlight=False)


def _table(score: str, entries: Sequence[Entry], width: int) -> tuple[Table, list[str]]:
    """The table, and the columns that there was no room for."""
    columns = _columns(score, compact=False)
    if _width(columns, entries) > width:
        columns = _columns(score, compact=True)
    folds = max(0, columns[1].width(entries) - LONG_NAME)
    hidden: list[str] = []
    while _width(columns, entries) - folds > width and any(column.gives_way for column in columns):
        first = max(columns, key=lambda column: column.gives_way)
        columns.remove(first)
        hidden.insert(0, first.title)
    return _filled(columns, entries, width), hidden


def _columns(score: str, *, compact: bool) -> list[Column]:
    def interval(measure: Measure | None, places: int, *, sign: bool = False) -> str:
        text = with_interval(measure, places, sign=sign)
        return text.replace(" ±", "±") if compact else text

    return [
        Column("rank", lambda e: rank(e.rank)),
        Column("variant", lambda e: shown_name(e.variant)),
        Column(score, lambda e: interval(e.representation, 3)),
        Column("vs dense", lambda e: MISSING if e.variant == BASELINE else interval(e.vs_dense, 3, sign=True)),
        Column("specialization", lambda e: _no_experts(e) or interval(e.specialization, 2), gives_way=1),
        Column("latency", lambda e: latency(e.latency), "right", gives_way=2),
        Column("active", lambda e: short(e.counts.active_params if e.counts else None), "right", gives_way=3),
        Column("FLOPs", lambda e: short(e.counts.flops_per_input if e.counts else None), "right", gives_way=4),
    ]


def _no_experts(entry: Entry) -> str:
    return entry.specialization_reason if entry.specialization_reason == words.NO_EXPERTS else ""


def _width(columns: Sequence[Column], entries: Sequence[Entry]) -> int:
    return sum(column.width(entries) for column in columns) + GAP * (len(columns) - 1)


def _filled(columns: Sequence[Column], entries: Sequence[Entry], width: int) -> Table:
    """Every column as wide as it needs; only a long name is folded, into what is left."""
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold")
    spare = width - _width(columns, entries)
    for column in columns:
        wide = column.width(entries)
        if column.title == "variant" and spare < 0:
            wide = max(NARROWEST_NAME, wide + spare)
        table.add_column(column.title, justify=column.justify, width=wide, overflow="fold")
    for entry in entries:
        table.add_row(*(Text(column.cell(entry)) for column in columns), style="" if entry.rank else "dim")
    return table


def _print_tasks(board: Board, rung: Rung, console: Console) -> None:
    """Each task on its own, for a mean over tasks hides which one made it."""
    columns = [Column("variant", lambda e: shown_name(e.variant))]
    columns += [Column(task.name, partial(_on_task, index)) for index, task in enumerate(board.tasks)]
    _say(console, "")
    console.print(_filled(columns, rung.entries, console.width))
    _say(console, "")


def _on_task(index: int, entry: Entry) -> str:
    result = entry.tasks[index]
    return with_interval(result.score) if result.score else result.status
