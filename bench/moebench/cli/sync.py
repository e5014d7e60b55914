"""``moebench sync``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from moebench.cli.options import results_option

if TYPE_CHECKING:
    from moebench.planning.plan import Plan
    from moebench.tracking.write import Progress


@click.command("sync")
@click.argument("suite", required=False)
@results_option
def command(suite: str | None, results: Path) -> None:
    """Write finished runs to MLflow: those of SUITE, or of every suite that has run here.

    What is there already is left alone. The store is results/mlflow.db, or what MLFLOW_TRACKING_URI names.
    """
    from moebench.planning.cache import get_plan
    from moebench.planning.history import board_request

    requests = [board_request(results, name) for name in _suites(suite, results)]
    for plan in [get_plan(request, results) for request in requests]:
        written = _sync(plan, results)
        done = f"{written} run{'s' * (written != 1)} written" if written else "nothing to write"
        click.echo(f"{plan.suite.name}  protocol {plan.protocol}  {done}")
    click.echo("MLflow: moebench ui")


def _suites(suite: str | None, results: Path) -> list[str]:
    """The suite that was named, or all that have run; :class:`ResultsError` if there is nothing of it."""
    from moebench.errors import ResultsError
    from moebench.planning.history import known_suites
    from moebench.suites import load_suite

    known = known_suites(results)
    if suite is None and known:
        return known
    if suite is not None and Path(suite).stem in known:
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
