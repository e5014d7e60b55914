"""``moebench run SUITE``."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Any

import click

from moebench.cli.help import Grouped
from moebench.cli.options import COUNT, full_option, request_options

SECONDS = click.FloatRange(min=0, min_open=True)


class _Run(Grouped):
    groups = MappingProxyType(
        {
            "What": ("variants", "seeds", "trials", "full", "reuse"),
            "Where": ("results", "data", "device", "executor", "executor_options"),
            "How": ("backend", "micro_batch", "workers", "ranks"),
            "Advanced": ("timeout", "silence", "checkpoint_every", "weights", "mlflow"),
        }
    )


@click.command("run", cls=_Run)
@click.argument("suite")
@request_options
@click.option("--executor", default="local", show_default=True, metavar="E", help="Where runs go: local, ray or slurm.")
@click.option(
    "--executor-option",
    "executor_options",
    multiple=True,
    metavar="NAME=VALUE",
    help="An option of the executor, such as partition=gpu. Repeatable.",
)
@click.option("--workers", type=COUNT, metavar="N", help="Runs at a time (default: as many as fit).")
@click.option(
    "--ranks",
    type=COUNT,
    metavar="N",
    default=1,
    show_default=True,
    help="Processes, or GPUs, that train each model together.",
)
@click.option(
    "--timeout",
    type=SECONDS,
    metavar="SECONDS",
    help="The longest that one run may take (default: as long as it takes).",
)
@click.option(
    "--silence",
    type=SECONDS,
    metavar="SECONDS",
    default=1800,
    show_default=True,
    help="The longest that a run may be silent before it is ended.",
)
@click.option(
    "--checkpoint-every",
    type=SECONDS,
    metavar="SECONDS",
    default=60,
    show_default=True,
    help="Seconds of training between two checkpoints.",
)
@click.option("--weights/--no-weights", default=True, help="Keep the final weights of the winners.")
@click.option("--mlflow/--no-mlflow", default=True, help="Write MLflow as runs finish (the default).")
@full_option
@click.option(
    "--reuse",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="DIR",
    help="Take finished runs from what `moebench publish` wrote into DIR, or published:SUITE for the board that "
    "moebench brings. Repeatable.",
)
@click.option("--quiet", is_flag=True, help="Print the leaderboard only.")
def command(
    suite: str,
    results: Path,
    executor: str,
    executor_options: tuple[str, ...],
    quiet: bool,
    reuse: tuple[Path, ...],
    **options: Any,
) -> int:
    """Train what is missing of SUITE (a name or a .toml file), then print its leaderboard.

    Rows of fixed settings are trained and measured, and where the suite has a study, such as paper, its report is
    written.

    Exit status: 0 when every planned run is done, 1 when some are not, 2 for wrong use.
    """
    from moebench.cli.reporting import print_session
    from moebench.errors import UsageError
    from moebench.experiment import run_experiment
    from moebench.runner.options import RunLimits, RunOptions
    from moebench.runner.progress import choose_progress
    from moebench.suites.request import ask
    from moebench.summary import opening
    from moebench.text import plain_console

    how = RunOptions(
        results=results,
        executor=executor,
        executor_options=dict(map(_named, executor_options)),
        workers=options.pop("workers"),
        ranks=options.pop("ranks"),
        limits=RunLimits(options.pop("timeout"), options.pop("silence")),
        checkpoint_seconds=options.pop("checkpoint_every"),
        save_weights=options.pop("weights"),
        mlflow=options.pop("mlflow"),
    )
    asked = ask(suite, **options)
    if reuse and all(each.suite.tuning is None for each in asked.requests):
        raise UsageError(
            f"suite '{suite}' has a report and no board to reuse the runs of; leave --reuse out.",
            code="reuse-without-board",
        )
    console = plain_console(stderr=True)
    progress = choose_progress(console, quiet=quiet)
    _take_over(reuse, results)
    session = run_experiment(asked, how, progress, on_plan=None if quiet else opening(console))
    return print_session(session, results, quiet=quiet, mlflow=how.mlflow, chosen=suite if options["variants"] else "")


def _named(option: str) -> tuple[str, str]:
    """NAME=VALUE as a pair."""
    name, equals, value = option.partition("=")
    if not name or not equals:
        from moebench.errors import UsageError

        raise UsageError(f"--executor-option takes NAME=VALUE, not '{option}'.", code="executor-option-form")
    return name, value


def _take_over(directories: tuple[Path, ...], results: Path) -> None:
    """Copy published records into the results directory."""
    from moebench.publish import reuse
    from moebench.records import Store

    for directory in directories:
        store = Store(results)
        store.prepare()
        click.echo(f"reuse  {reuse(directory, store)} records of {directory}", err=True)
