"""A comparison in a terminal: columns give way where it is narrow, and no number is broken over two lines."""

from __future__ import annotations

import io
from collections.abc import Mapping

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from moebench.board.formats.numbers import plain
from moebench.comparison.formats.words import cells, notes, summary, titles
from moebench.comparison.model import Comparison, Verdict

GAP = 2
NARROWEST_NAME = 8
LONG_NAME = 20
"""A longer name is folded before a column gives way."""

STAYS = ("verdict", "row", "budget", "B - A")
STYLES: Mapping[Verdict, str] = {"worse": "red", "better": "green"}


def to_table(comparison: Comparison, width: int = 100) -> str:
    """The table as text of at most ``width`` characters a line, without colours."""
    buffer = io.StringIO()
    print_table(comparison, Console(file=buffer, width=width, color_system=None, force_terminal=False))
    return "".join(f"{line.rstrip()}\n" for line in buffer.getvalue().splitlines())


def print_table(comparison: Comparison, console: Console) -> None:
    """Print the summary, a line for each row, and what a reader needs beside it."""
    _say(console, Text(f"{plain(comparison.suite)}: {summary(comparison)}", style="bold"))
    _say(console, Text(f"A {plain(comparison.a)}   B {plain(comparison.b)}"))
    heads = titles(comparison)
    lines = [cells(comparison, pair) for pair in comparison.pairs]
    kept = _kept(heads, lines, console.width)
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold")
    spare = console.width - _width(heads, lines, kept)
    for index in kept:
        width = _width(heads, lines, [index])
        folded = max(NARROWEST_NAME, width + spare) if heads[index] == "row" and spare < 0 else width
        table.add_column(Text(heads[index]), width=folded, overflow="fold")
    for pair, line in zip(comparison.pairs, lines, strict=True):
        table.add_row(*(Text(line[index]) for index in kept), style=STYLES.get(pair.verdict, ""))
    console.print(table)
    if hidden := [heads[index] for index in range(len(heads)) if index not in kept]:
        _say(console, Text(f"A wider terminal also shows: {', '.join(hidden)}."))
    for note in notes(comparison):
        _say(console, Text(note))


def _kept(heads: list[str], lines: list[list[str]], width: int) -> list[int]:
    """The columns that there is room for; those on the right give way first."""
    kept = list(range(len(heads)))
    folds = max(0, _width(heads, lines, [heads.index("row")]) - LONG_NAME)
    while _width(heads, lines, kept) - folds > width:
        movable = [index for index in kept if heads[index] not in STAYS]
        if not movable:
            break
        kept.remove(movable[-1])
    return kept


def _width(heads: list[str], lines: list[list[str]], columns: list[int]) -> int:
    """What some columns take without breaking, gaps included."""
    texts = ([row[index] for row in (heads, *lines)] for index in columns)
    return sum(max(map(cell_len, column)) for column in texts) + GAP * (len(columns) - 1)


def _say(console: Console, text: Text) -> None:
    console.print(text, highlight=False)
