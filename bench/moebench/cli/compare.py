"""``moebench compare A B``."""

from __future__ import annotations

from pathlib import Path

import click

from moebench.cli.options import show

FORMATS = ("table", "md", "json")


@click.command("compare")
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--suite", metavar="NAME", help="Suite to compare (default: the one A ran last).")
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="table", show_default=True, help="How to print it."
)
def command(a: Path, b: Path, suite: str | None, form: str) -> int:
    """Say which rows of B are better or worse than in A, as far as the seeds can tell.

    A and B are results directories, or what `moebench publish` wrote.

    Exit status: 0 when nothing is worse, 1 when something is, 2 for wrong use.
    """
    from moebench.board.compare import TEXTS, print_table, to_table
    from moebench.publish import compare_directories

    comparison = compare_directories(a, b, suite)
    if form == "table":
        show(comparison, print_table, to_table)
    else:
        click.echo(TEXTS[form](comparison), nl=False)
    return 1 if comparison.worse else 0  # what is missing is shown, and is no failure
