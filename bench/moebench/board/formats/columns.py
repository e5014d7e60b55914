"""Tables in a terminal of any width: columns give way where it is narrow, and no number is broken over two lines."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

GAP = 2
NARROWEST_NAME = 8
LONG_NAME = 20
"""A longer name is folded before a column gives way."""


@dataclass(frozen=True)
class Column:
    """``cells``: its text in every row. ``gives_way``: columns with a higher number go first where there is no room; 0
    stays. ``folds``: it holds names, which may be broken over lines.
    """

    title: str
    cells: Sequence[str]
    justify: Literal["left", "right"] = "left"
    gives_way: int = 0
    folds: bool = False

    @property
    def width(self) -> int:
        """Places in the terminal that it takes without breaking: a letter of some scripts takes two."""
        return max(map(cell_len, (self.title, *self.cells)))


def width_of(columns: Sequence[Column]) -> int:
    """What columns take without breaking, gaps included."""
    return sum(column.width for column in columns) + GAP * (len(columns) - 1)


def fitted(columns: Sequence[Column], width: int) -> tuple[list[Column], list[str]]:
    """The columns that there is room for, long names folded, and the titles of the others, in their order."""
    kept = list(columns)
    folds = sum(max(0, column.width - LONG_NAME) for column in columns if column.folds)
    while width_of(kept) - folds > width and any(column.gives_way for column in kept):
        kept.remove(max(kept, key=lambda column: column.gives_way))
    return kept, [column.title for column in columns if column not in kept]


def filled(columns: Sequence[Column], styles: Sequence[str], width: int) -> Table:
    """A line for each of ``styles``; every column as wide as it needs, only names are folded into what is left."""
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold")
    lacking = max(0, width_of(columns) - width)
    for column in columns:
        wide = max(NARROWEST_NAME, column.width - lacking) if column.folds and lacking else column.width
        table.add_column(Text(column.title), justify=column.justify, width=wide, overflow="fold")
    for index, style in enumerate(styles):
        table.add_row(*(Text(column.cells[index]) for column in columns), style=style)
    return table


def say(console: Console, text: str | Text) -> None:
    """A line as it is: nothing in it is markup, and nothing is coloured by what it looks like."""
    console.print(text if isinstance(text, Text) else Text(text), highlight=False)


def as_text(show: Callable[[Console], None], width: int) -> str:
    """What ``show`` prints, as text of at most ``width`` places a line, without colours."""
    buffer = io.StringIO()
    show(Console(file=buffer, width=width, color_system=None, force_terminal=False))
    return "".join(f"{line.rstrip()}\n" for line in buffer.getvalue().splitlines())
