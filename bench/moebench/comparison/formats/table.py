"""A comparison in a terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.text import Text

from moebench.board.formats.columns import Column, as_text, filled, fitted, say
from moebench.board.formats.numbers import plain
from moebench.comparison.formats.words import cells, notes, summary, titles
from moebench.comparison.model import Comparison, Verdict

STAYS = ("verdict", "row", "budget", "B - A")
"""Of the other columns, those on the right give way first."""

STYLES: Mapping[Verdict, str] = {"worse": "red", "better": "green"}


def to_table(comparison: Comparison, width: int = 100) -> str:
    """The table as text of at most ``width`` characters a line, without colours."""
    return as_text(lambda console: print_table(comparison, console), width)


def print_table(comparison: Comparison, console: Console) -> None:
    """Print the summary, a line for each row, and what a reader needs beside it."""
    say(console, Text(f"{plain(comparison.suite)}: {summary(comparison)}", style="bold"))
    say(console, f"A {plain(comparison.a)}   B {plain(comparison.b)}")
    columns, hidden = fitted(_columns(comparison), console.width)
    console.print(filled(columns, [STYLES.get(pair.verdict, "") for pair in comparison.pairs], console.width))
    if hidden:
        say(console, f"A wider terminal also shows: {', '.join(hidden)}.")
    for note in notes(comparison):
        say(console, note)


def _columns(comparison: Comparison) -> list[Column]:
    lines = [cells(comparison, pair) for pair in comparison.pairs]
    return [
        Column(
            title,
            [line[index] for line in lines],
            gives_way=0 if title in STAYS else index + 1,
            folds=title == "row",
        )
        for index, title in enumerate(titles(comparison))
    ]
