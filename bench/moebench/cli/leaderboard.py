"""``moebench leaderboard [SUITE]``: the board from the records there are; trains nothing."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import click

from moebench.cli.options import COUNT, results_option, show
from moebench.cli.verbosity import note

if TYPE_CHECKING:
    from moebench.board import Board
    from moebench.errors import ResultsError
    from moebench.records import Store

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
@click.option(
    "--max-latency-ratio",
    "ratio",
    type=click.FloatRange(min=0, min_open=True),
    metavar="R",
    help="Only rows whose latency is at most R x that of dense on every task, ranked among themselves.",
)
@click.option(
    "--batch",
    "--latency-batch",
    "batch",
    type=COUNT,
    metavar="N",
    help="The batch whose latency --max-latency-ratio limits: 1, or the suite's (the default).",
)
@click.option(
    "--max-active",
    "active",
    type=COUNT,
    metavar="N",
    help="Only rows with at most N active parameters on every task, ranked among themselves.",
)
@click.option("--budget", type=COUNT, metavar="N", help="Only this budget of a suite with several.")
@click.option("--seeds", type=COUNT, metavar="N", help="The board of a run with N seeds.")
@click.option("--trials", type=COUNT, metavar="N", help="The board of a run with N trials.")
@results_option
def command(
    suite: str | None,
    form: str,
    ratio: float | None,
    batch: int | None,
    active: int | None,
    budget: int | None,
    seeds: int | None,
    trials: int | None,
    results: Path,
) -> None:
    """Print the leaderboard of SUITE, or of the suite that ran last.

    SUITE is a name, a .toml file, a directory of `moebench publish`, or published:SUITE. Where a suite has not run, the
    published board that moebench brings is printed.
    """
    from moebench.errors import ResultsError, UsageError
    from moebench.publish import board_in, named_directory
    from moebench.records import Store

    if suite is not None and (seeds is not None or trials is not None) and named_directory(suite) is not None:
        raise UsageError(
            f"'{suite}' is published with its own seeds and trials; leave out --seeds and --trials.",
            code="published-seeds",
        )
    store = Store(results)
    try:
        board = board_in(store, suite, seeds, trials)
    except ResultsError as error:
        board = _brought(error, suite if seeds is trials is None else None)
    if budget is not None:
        board = _at(board, budget)
    if batch is not None and ratio is None:
        raise UsageError("--batch says what --max-latency-ratio limits; give both.", code="batch-alone")
    if ratio is not None or active is not None:
        _print_choice(board, form, ratio, active, batch)
    elif form == "table":
        from moebench.board import print_board, to_table

        show(board, print_board, to_table)
    else:
        from moebench.board import TEXTS

        click.echo(TEXTS[form](board), nl=False)
    _say_damaged(store)


def _brought(error: ResultsError, suite: str | None) -> Board:
    """The published board of a suite that has not run here, and what to do for one's own; else the error."""
    from moebench.cli.hints import command_line
    from moebench.errors import ResultsError
    from moebench.publish import published_board
    from moebench.publish.brought import PREFIX, brought_boards

    if suite is None or error.code != "not-run-yet":
        raise error
    directory = next(brought_boards(suite), None)
    if directory is None:
        sentence = f"{str(error).rstrip('.')} (moebench brings no published board of it yet)."
        raise ResultsError(sentence, code=error.code) from error
    run = command_line("run", suite, {})
    note(
        f"moebench: '{suite}' has not run here; this is its published board ({directory.name}).\n"
        f"One of your own: `{run}`. Your layer beside the published rows: `{run} --reuse {PREFIX}{suite} --variant "
        "mine.py:Mine`.",
        err=True,
    )
    return published_board(directory)


def _at(board: Board, budget: int) -> Board:
    """The board of one of its budgets."""
    from dataclasses import replace

    from moebench.errors import UsageError

    rungs = tuple(rung for rung in board.rungs if rung.budget == budget)
    if not rungs:
        known = ", ".join(str(rung.budget) for rung in board.rungs)
        raise UsageError(f"the board has no budget {budget}; it has {known}.", code="no-such-budget", budget=budget)
    return replace(board, rungs=rungs)


def _print_choice(board: Board, form: str, ratio: float | None, active: int | None, batch: int | None) -> None:
    """The rows that meet the limits, budget by budget."""
    from moebench.board import RowLimits, choose
    from moebench.board.choose import print_choices, to_json, to_markdown
    from moebench.errors import UsageError

    if ratio is not None and not isfinite(ratio):
        raise UsageError(f"--max-latency-ratio must be a number, such as 0.8, not {ratio:g}.", code="ratio-not-finite")
    if batch not in (None, 1, board.latency_batch):
        raise UsageError(
            f"latency was measured at batch 1 and {board.latency_batch}, not at {batch}.",
            code="batch-not-measured",
            batch=batch,
        )
    of_one = batch == 1 != board.latency_batch
    limits = RowLimits(latency_ratio=ratio, active=active, of_one=of_one)
    choices = [choose(rung, limits, board.tasks[0].higher_is_better) for rung in board.rungs]
    if form == "json":
        click.echo(to_json(board, choices), nl=False)
    elif form == "md":
        click.echo(to_markdown(board, choices), nl=False)
    elif form == "table":
        print_choices(board, choices)
    else:
        raise UsageError(
            f"limits are answered as table, json or md, not as {form}; the page sorts by any column.",
            code="limits-format",
        )


def _say_damaged(store: Store) -> None:
    if store.damaged:
        names = ", ".join(f"'{path}'" for path in store.damaged)
        what = "1 damaged record was" if len(store.damaged) == 1 else f"{len(store.damaged)} damaged records were"
        click.echo(f"moebench: {what} set aside ({names}); the next run of the suite makes it anew.", err=True)
