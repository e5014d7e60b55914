"""What several commands share: their options, and how a table is shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from moebench.text import plain_console

if TYPE_CHECKING:
    from rich.console import Console

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


class Whole(click.IntRange):
    """A whole number in a range; what is none is said to be no integer, not to be no range."""

    name = "integer"


SECONDS = click.FloatRange(min=0, min_open=True)

COUNT = Whole(min=1)
"""Of anything there must be one of."""


def results_option(command: F) -> F:
    """``--results DIR``."""
    return click.option(
        "--results",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path("results"),
        show_default=True,
        metavar="DIR",
        help="Everything a run writes.",
    )(command)


def device_option(command: F) -> F:
    """``--device D``."""
    return click.option("--device", metavar="D", help="cpu, cuda or cuda:N (default: CUDA where there is one).")(
        command
    )


def data_option(command: F) -> F:
    """``--data DIR``; of an own table also its file."""
    return click.option(
        "--data",
        type=click.Path(exists=True, path_type=Path),
        metavar="DIR",
        help="Where data sets lie, or are downloaded to; for the task 'table' its parquet file.",
    )(command)


def request_options(command: F) -> F:
    """The options that say what is run; ``run`` and ``plan`` take the same."""
    options = (
        click.option(
            "--variant",
            "variants",
            multiple=True,
            metavar="V",
            help="Run these rows only (and dense): a name, or path.py:Class. Repeatable.",
        ),
        click.option("--seeds", type=COUNT, metavar="N", help="Final seeds, instead of the suite's."),
        click.option("--trials", type=COUNT, metavar="N", help="Tuning trials of each row, instead of the suite's."),
        click.option("--micro-batch", type=COUNT, metavar="N", help="Inputs per backward pass, for small GPUs."),
        device_option,
        click.option("--backend", metavar="B", help="How experts are computed; see `moebench list backends`."),
        data_option,
    )
    for option in reversed(options):
        command = option(command)
    return results_option(command)


def full_option(command: F) -> F:
    """``--full``."""
    help = "The full form of a suite that has a reduced one: more seeds, more values."
    return click.option("--full", is_flag=True, help=help)(command)


HOW = (
    *("executor", "executor_options", "ranks", "seconds", "timeout", "silence", "checkpoint_every", "weights", "check"),
    "mlflow",
)
"""Options of ``run`` that change no plan."""


def how_options(command: F) -> F:
    """The options that say how it is run; ``plan`` takes them, too, so that a command can be planned as it stands."""
    options = (
        click.option(
            "--executor", default="local", show_default=True, metavar="E", help="Where runs go: local, ray or slurm."
        ),
        click.option(
            "--executor-option",
            "executor_options",
            multiple=True,
            metavar="NAME=VALUE",
            help="An option of the executor, such as partition=gpu. Repeatable.",
        ),
        click.option("--workers", type=COUNT, metavar="N", help="Runs at a time (default: as many as fit)."),
        click.option(
            "--ranks",
            type=COUNT,
            metavar="N",
            default=1,
            show_default=True,
            help="Processes, or GPUs, that train each model together.",
        ),
        click.option(
            "--for",
            "seconds",
            type=SECONDS,
            metavar="SECONDS",
            help="Begin only what will end within so many seconds, as far as is known; the same command goes on.",
        ),
        click.option(
            "--timeout",
            type=SECONDS,
            metavar="SECONDS",
            help="The longest that one run may take (default: as long as it takes).",
        ),
        click.option(
            "--silence",
            type=SECONDS,
            metavar="SECONDS",
            default=1800,
            show_default=True,
            help="The longest that a run may be silent before it is ended.",
        ),
        click.option(
            "--checkpoint-every",
            type=SECONDS,
            metavar="SECONDS",
            default=60,
            show_default=True,
            help="Seconds of training between two checkpoints.",
        ),
        click.option("--weights/--no-weights", default=True, help="Keep the final weights of the winners."),
        click.option("--check/--no-check", default=True, help="Check rows of other authors (the default)."),
        click.option("--mlflow/--no-mlflow", default=True, help="Write MLflow as runs finish (the default)."),
        full_option,
        click.option(
            "--reuse",
            type=click.Path(path_type=Path),
            multiple=True,
            metavar="DIR",
            help="Take finished runs from what `moebench publish` wrote into DIR, or published:SUITE for the board "
            "that moebench brings. Repeatable.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def show(what: T, print_on: Callable[[T, Console], None], to_text: Callable[[T], str]) -> None:
    """On a terminal as it fits there, with colours; elsewhere as its text."""
    if (console := plain_console()).is_terminal:
        print_on(what, console)
    else:
        click.echo(to_text(what), nl=False)
