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
    for index in kept:
        width = _width(heads, lines, index)
        if heads[index] == "row":  # the one column that is folded
            others = _total(heads, lines, [other for other in kept if other != index])
            width = min(width, max(NARROWEST_NAME, console.width - others))
        table.add_column(Text(heads[index]), width=width, overflow="fold")
    for pair, line in zip(comparison.pairs, lines, strict=True):
        table.add_row(*(Text(line[index]) for index in kept), style=STYLES.get(pair.verdict, ""))
    console.print(table)
    if hidden := [heads[index] for index in range(len(heads)) if index not in kept]:
        _say(console, Text(f"A wider terminal also shows: {', '.join(hidden)}."))
    for note in notes(comparison):
        _say(console, Text(note))


def _kept(heads: list[str], lines: list[list[str]], width: int) -> list[int]:
    """The columns that there is room for: those on the right go first, a name is folded before one goes."""
    kept = list(range(len(heads)))
    while NARROWEST_NAME + _total(heads, lines, [i for i in kept if heads[i] != "row"]) > width:
        movable = [index for index in kept if heads[index] not in STAYS]
        if not movable:
            break
        kept.remove(movable[-1])
    return kept


def _total(heads: list[str], lines: list[list[str]], columns: list[int]) -> int:
    """What some columns take, each with its gap."""
    return sum(_width(heads, lines, index) + GAP for index in columns)


def _width(heads: list[str], lines: list[list[str]], index: int) -> int:
    return max(cell_len(heads[index]), *(cell_len(line[index]) for line in lines))


def _say(console: Console, text: Text) -> None:
    console.print(text, highlight=False)
