"""``moebench sync``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from moebench.cli.options import data_option, results_option

if TYPE_CHECKING:
    from moebench.planning.plan import Plan
    from moebench.tracking.write import Progress


@click.command("sync")
@click.argument("suite", required=False)
@data_option
@results_option
def command(suite: str | None, results: Path, data: Path | None) -> None:
    """Write finished runs to MLflow: those of SUITE, or of every suite with a leaderboard that has run here.

    What is there already is left alone. The store is results/mlflow.db, or what MLFLOW_TRACKING_URI names.
    """
    from moebench.planning.cache import get_plan
    from moebench.planning.history import board_request

    if suite is not None and _is_sweep(suite, results):
        _sync_sweeps(suite, results, data)
        click.echo("MLflow: moebench ui")
        return
    requests = [board_request(results, name) for name in _suites(suite, results)]
    for plan in [get_plan(request, results) for request in requests]:
        written = _sync(plan, results)
        done = f"{written} run{'s' * (written != 1)} written" if written else "nothing to write"
        click.echo(f"{plan.suite.name}  protocol {plan.protocol}  {done}")
    click.echo("MLflow: moebench ui")


def _is_sweep(suite: str, results: Path) -> bool:
    """What has a leaderboard here is known by name even where its file is elsewhere."""
    from moebench.planning.history import known_suites, name_of
    from moebench.suites.load import is_ranked, read_values

    return name_of(suite) not in known_suites(results) and not is_ranked(read_values(suite)[0])


def _sync_sweeps(suite: str, results: Path, data: Path | None) -> None:
    """Every run of the full form that is there, which those of the reduced form are among; and the report."""
    from moebench.planning.request import Request
    from moebench.runs import Store
    from moebench.sweeps.parts import plan_sweeps
    from moebench.tracking.sweep_run import sync_sweep

    page = results / Path(suite).stem / "report.html"
    for plan in plan_sweeps(Request(suite=suite, data=data), full=True):
        written = sync_sweep(plan, Store(results), page if page.exists() else None)
        done = f"{written} run{'s' * (written != 1)} written" if written else "nothing to write"
        click.echo(f"{plan.sweep.name}  {done}")


def _suites(suite: str | None, results: Path) -> list[str]:
    """The suite that was named, or all that have run; :class:`ResultsError` if there is nothing of it."""
    from moebench.errors import ResultsError
    from moebench.planning.history import known_suites, name_of
    from moebench.suites import load_suite

    known = known_suites(results)
    if suite is None and known:
        return known
    if suite is not None and name_of(suite) in known:
        return [suite]
    what, name = ("no suite", "quick") if suite is None else (f"suite '{load_suite(suite).name}'", suite)
    has = "has" if suite is None else "has not"
    raise ResultsError(f"{what} {has} run into '{results}' yet; run one with `moebench run {name}`.")


def _sync(plan: Plan, results: Path) -> int:
    """How many runs were written; mlflow is imported only if something may be missing."""
    from moebench.runs import Store
    from moebench.tracking.database import open_client, writing
    from moebench.tracking.ledger import Ledger
    from moebench.tracking.write import needs_sync, sync

    store, ledger = Store(results), Ledger(results)
    if ledger.certain and not needs_sync(plan, store, ledger):
        return 0
    with writing(results), _bar(f"{plan.suite.name} to MLflow") as progress:
        return sync(plan, store, open_client(results), ledger, progress)


@contextmanager
def _bar(title: str) -> Iterator[Progress]:
    """A bar on a terminal; nothing elsewhere."""
    from rich.console import Console
    from rich.progress import Progress as RichProgress

    console = Console(stderr=True)
    with RichProgress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
