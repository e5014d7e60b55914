"""``moebench run SUITE``."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Any

import click

from moebench.cli.help import Grouped
from moebench.cli.options import how_options, request_options
from moebench.cli.verbosity import is_quiet, note


class _Run(Grouped):
    groups = MappingProxyType(
        {
            "What": ("variants", "seeds", "trials", "full", "reuse"),
            "Where": ("results", "data", "device", "executor", "executor_options"),
            "How": ("backend", "micro_batch", "workers", "ranks", "seconds"),
            "Advanced": ("timeout", "silence", "checkpoint_every", "weights", "check", "mlflow"),
        }
    )


@click.command("run", cls=_Run)
@click.argument("suite")
@request_options
@how_options
def command(
    suite: str,
    results: Path,
    executor: str,
    executor_options: tuple[str, ...],
    reuse: tuple[Path, ...],
    **options: Any,
) -> int:
    """Train what is missing of SUITE (a name or a .toml file), then print its leaderboard.

    Rows of fixed settings are trained and measured, and where the suite has a study, such as paper, its report is
    written.

    Exit status: 0 when every planned run is done, 1 when some are not (also those that --for left no time for), 2 for
    wrong use.
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
        check=options.pop("check"),
        seconds=options.pop("seconds"),
    )
    asked = ask(suite, **options)
    if reuse and all(each.suite.tuning is None for each in asked.requests):
        raise UsageError(
            f"suite '{suite}' has a report and no board to reuse the runs of; leave --reuse out.",
            code="reuse-without-board",
        )
    console, quiet = plain_console(stderr=True), is_quiet()
    progress = choose_progress(console, quiet=quiet)
    _take_over(reuse, results)
    session = run_experiment(asked, how, progress, on_plan=None if quiet else opening(console))
    return print_session(session, results, suite, quiet=quiet, mlflow=how.mlflow, chosen=bool(options["variants"]))


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
        note(f"reuse  {reuse(directory, store)} records of {directory}", err=True)
