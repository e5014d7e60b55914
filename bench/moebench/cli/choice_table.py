"""The rows that meet an engineer's limits, as a terminal shows them."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from moebench.board.choose import Choice
from moebench.board.formats import words
from moebench.board.formats.chosen import TITLES, cells, notes
from moebench.board.model import Board

WIDTH = 100
"""Where the output is no terminal."""


def print_choices(board: Board, choices: list[Choice]) -> None:
    """A table and its notes for each budget."""
    console = Console()
    console = console if console.is_terminal else Console(width=WIDTH, color_system=None)
    for choice in choices:
        console.print(Text(words.heading(board, choice.budget), style="bold"), highlight=False)
        console.print(
            Text(f"{choice.limits.words}; ranked by test {words.score_name(board)} among the rows that meet this")
        )
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
        for title in TITLES:
            table.add_column(title, justify="right" if title in ("p", "latency", "active") else "left", overflow="fold")
        for chosen in choice.chosen:
            table.add_row(*map(Text, cells(chosen)), style="" if chosen.rank else "dim")
        if choice.chosen:
            console.print(table)
        for note in notes(choice):
            console.print(Text(note))
