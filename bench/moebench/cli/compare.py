"""``moebench compare A B``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from moebench.comparison import Comparison

WIDTH = 100
"""Where the output is no terminal."""


@click.command("compare")
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--suite", metavar="NAME", help="Which suite of results directories; by itself the one that A ran last.")
@click.option("--format", "form", type=click.Choice(["table", "md", "json"]), default="table", show_default=True)
def command(a: Path, b: Path, suite: str | None, form: str) -> int:
    """Say which rows of B are better or worse than in A, as far as the seeds can tell.

    A and B are results directories, or what `moebench publish` wrote.

    Exit status: 0 when nothing is worse, 1 when something is, 2 for wrong use.
    """
    from moebench.comparison import compare
    from moebench.comparison.formats import to_json, to_markdown
    from moebench.published.sources import open_results

    first = open_results(a, suite)
    comparison = compare(first, open_results(b, first.plan.suite.name))
    if form == "table":
        _print(comparison)
    else:
        click.echo(to_markdown(comparison) if form == "md" else to_json(comparison), nl=False)
    return 1 if comparison.worse else 0


def _print(comparison: Comparison) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from moebench.comparison.formats import cells, notes, summary, titles

    console = Console()
    console = console if console.is_terminal else Console(width=WIDTH, color_system=None)
    console.print(Text(f"{comparison.suite}: {summary(comparison)}", style="bold"))
    console.print(Text(f"A {comparison.a}   B {comparison.b}"))
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for title in titles(comparison):
        table.add_column(title, overflow="fold")
    colours = {"worse": "red", "better": "green"}
    for pair in comparison.pairs:
        table.add_row(*map(Text, cells(comparison, pair)), style=colours.get(pair.verdict, ""))
    console.print(table)
    for note in notes(comparison):
        console.print(Text(note))
