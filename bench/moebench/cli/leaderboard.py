"""``moebench leaderboard [SUITE]``: the board from the records there are; trains nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from moebench.cli.options import results_option

if TYPE_CHECKING:
    from moebench.runs import Store

FORMATS = ("table", "json", "md", "html", "csv")


@click.command("leaderboard")
@click.argument("suite", required=False)
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="table",
    show_default=True,
    help="How to print it.",
)
@click.option("--seeds", type=int, metavar="N", help="As of a run with so many seeds.")
@click.option("--trials", type=int, metavar="N", help="As of a run with so many trials.")
@results_option
def command(suite: str | None, form: str, seeds: int | None, trials: int | None, results: Path) -> None:
    """Print the leaderboard of SUITE (a name or a .toml file), or of the suite that ran last."""
    from moebench.board.load import read_board
    from moebench.runs import Store

    store = Store(results)
    board = read_board(store, suite, seeds, trials)
    if form == "table":
        from rich.console import Console

        from moebench.board.formats.table import print_board, to_table

        console = Console()
        if console.is_terminal:
            print_board(board, console)
        else:
            click.echo(to_table(board), nl=False)
    else:
        from moebench.board.formats import TEXTS

        click.echo(TEXTS[form](board), nl=False)
    _say_damaged(store)


def _say_damaged(store: Store) -> None:
    if store.damaged:
        names = ", ".join(f"'{path}'" for path in store.damaged)
        what = "1 damaged record was" if len(store.damaged) == 1 else f"{len(store.damaged)} damaged records were"
        click.echo(f"moebench: {what} set aside ({names}); the next run of the suite makes it anew.", err=True)
