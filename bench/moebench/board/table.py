"""Tables in a terminal of any width, and the board as one: no number is broken over two lines."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from moebench.board import words
from moebench.board.columns import SHOWN, Column
from moebench.board.model import Board, Entry, Rung
from moebench.board.numbers import on_task, shown_name
from moebench.text import plain_console

GAP = 2
LONG_NAME = 20
"""A longer name is folded before a column gives way."""


@dataclass(frozen=True)
class TextColumn:
    """``cells``: its text in every row. ``gives_way``: columns with a higher number go first where there is no room; 0
    stays. ``folds``: it holds names, which may be broken over lines.
    """

    title: str
    cells: Sequence[str]
    right: bool = False
    gives_way: int = 0
    folds: bool = False

    @property
    def width(self) -> int:
        """Places in the terminal that it takes: a letter of some scripts takes two, and long names fold."""
        widest = max(map(cell_len, (self.title, *self.cells)))
        return min(widest, LONG_NAME) if self.folds else widest


def print_columns(console: Console, columns: Sequence[TextColumn], styles: Sequence[str]) -> None:
    """A line for each of ``styles``. Columns give way until the rest fits; those that had to are named below."""
    kept = list(columns)
    while width_of(kept) > console.width and any(column.gives_way for column in kept):
        kept.remove(max(kept, key=lambda column: column.gives_way))
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold")
    for column in kept:
        table.add_column(
            Text(column.title),
            justify="right" if column.right else "left",
            no_wrap=not column.folds,
            overflow="fold",
        )
    for index, style in enumerate(styles):
        table.add_row(*(Text(column.cells[index]) for column in kept), style=style)
    console.print(table)
    if hidden := [column.title for column in columns if column not in kept]:
        say(console, f"A wider terminal also shows: {', '.join(hidden)}.")


def width_of(columns: Sequence[TextColumn]) -> int:
    """What columns take without breaking a number, gaps included."""
    return sum(column.width for column in columns) + GAP * (len(columns) - 1)


def say(console: Console, text: str | Text) -> None:
    """A line as it is: nothing in it is markup, and nothing is coloured by what it looks like."""
    console.print(text if isinstance(text, Text) else Text(text), highlight=False)


def say_named(console: Console, name: str, sentence: str) -> None:
    """A sentence about a row."""
    say(console, Text.assemble((f"{name}  ", "bold"), sentence))


def as_text(show: Callable[[Console], None], width: int) -> str:
    """What ``show`` prints, as text of at most ``width`` places a line, without colours."""
    buffer = io.StringIO()
    show(plain_console(file=buffer, width=width, color_system=None, force_terminal=False))
    return "".join(f"{line.rstrip()}\n" for line in buffer.getvalue().splitlines())


def to_table(board: Board, width: int = 100, asked_for: Collection[str] = ()) -> str:
    """The board as text of at most ``width`` characters a line, without colours; ``asked_for`` as of
    :func:`print_board`.
    """
    return as_text(lambda console: print_board(board, console, asked_for), width)


def print_board(board: Board, console: Console, asked_for: Collection[str] = ()) -> None:
    """Print every budget's table with what a reader needs around it.

    asked_for: rows that are marked. Of the others those that have not run are left out where there are such rows.
    """
    for index, whole in enumerate(board.rungs):
        rung = _asked_for(whole, asked_for)
        if index:
            say(console, "")
        say(console, Text(words.heading(board, rung.budget), style="bold"))
        say(console, words.how_ranked(board))
        columns = _columns(board, rung, asked_for)
        if width_of(columns) > console.width:
            columns = _columns(board, rung, asked_for, compact=True)
        print_columns(console, columns, _styles(rung))
        if len(board.tasks) > 1:
            _print_tasks(board, rung, console)
        for name, sentence in words.grouped(words.remarks(rung)):
            say_named(console, name, sentence)
        notes = (words.specialization_note(rung), words.latency_note(board, rung))
        for note in filter(None, (words.survival(rung), *words.against(rung), *notes)):
            say(console, note)
    for name, sentence in words.other_runs(board):
        say_named(console, name, sentence)
    for note in filter(None, (*words.footer(board), words.verified(board))):
        say(console, note)


def _styles(rung: Rung) -> list[str]:
    return ["" if entry.rank else "dim" for entry in rung.entries]


def _asked_for(rung: Rung, rows: Collection[str]) -> Rung:
    """The budget without rows that nobody asked for and that have not run; whole where none was asked for by name."""
    if not rows:
        return rung
    without = [entry for entry in words.without_runs(rung) if entry.variant not in rows]
    return replace(rung, entries=tuple(entry for entry in rung.entries if entry not in without))


def _columns(board: Board, rung: Rung, asked_for: Collection[str] = (), *, compact: bool = False) -> list[TextColumn]:
    """The shown columns; ``compact`` without the spaces before ± and ms."""
    spaces = {"interval": " ±", "latency": " ms"} if compact else {}

    def shown(column: Column, entry: Entry) -> str:
        space = spaces.get(column.kind, "")
        if column.key == "variant" and asked_for:
            return f"{'>' if entry.variant in asked_for else ' '} {column.cell(entry)}"
        return column.cell(entry).replace(space, space.strip()) if space else column.cell(entry)

    return [
        TextColumn(
            column.titled(board, short=True),
            [shown(column, entry) for entry in rung.entries],
            column.right,
            column.gives_way,
            folds=column.key == "variant",
        )
        for column in SHOWN
        if column.terminal and column.on(board)
    ]


def _print_tasks(board: Board, rung: Rung, console: Console) -> None:
    """Each task on its own, for a mean over tasks hides which one made it."""
    columns = [TextColumn("variant", [shown_name(entry.variant) for entry in rung.entries], folds=True)]
    columns += [
        TextColumn(task.name, [on_task(entry.tasks[index]) for entry in rung.entries])
        for index, task in enumerate(board.tasks)
    ]
    say(console, "")
    print_columns(console, columns, _styles(rung))
    say(console, "")
