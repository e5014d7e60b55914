"""``moebench sync``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from moebench.cli.options import data_option, results_option
from moebench.cli.verbosity import is_quiet, note
from moebench.text import counted_noun, plain_console

if TYPE_CHECKING:
    from moebench.mlflow_store.write import Progress
    from moebench.plans.plan import Plan
    from moebench.suites.request import Request


@click.command("sync")
@click.argument("suite", required=False)
@data_option
@results_option
def command(suite: str | None, results: Path, data: Path | None) -> None:
    """Write finished runs to MLflow: those of SUITE, or of every suite with a leaderboard that has run here.

    What is there already is left alone. The store is results/mlflow.db, or what MLFLOW_TRACKING_URI names.
    """
    from moebench.cli.reporting import mlflow_hint
    from moebench.plans.cache import get_plan, plan_all

    wanted = _wanted(suite, results, data)
    reports = {request.suite.name: report for request, report in wanted}
    plans, _ = plan_all([request for request, _ in wanted], lambda request: get_plan(request, results))
    for plan in plans:
        report = reports[plan.suite.name]
        written = _sync(plan, results, report)
        done = f"{counted_noun(written, 'run')} written" if written else "nothing to write"
        protocol = f"  protocol {plan.protocol}" if plan.rows else ""
        click.echo(f"{plan.suite.name}{protocol}  {done}")
    note(mlflow_hint(results))


def _wanted(suite: str | None, results: Path, data: Path | None) -> list[tuple[Request, Path | None]]:
    """What to write, and the report there is of it: the suite that was named, or all with a board that have run.

    Of an experiment without a board its full form, which all runs of the reduced one are among. :class:`ResultsError`
    if nothing of it has run.
    """
    from moebench.plans.history import board_request, find_request, known_suites
    from moebench.suites import load_experiment
    from moebench.suites.request import ask

    if suite is None:
        names: list[str | None] = [*known_suites(results)] or [None]
        requests = [board_request(results, name) for name in names]
        return [(request, _report(results, request.suite.name)) for request in requests]
    found = find_request(results, suite)
    if found is not None:
        return [(found, _report(results, found.suite.name))]
    experiment = load_experiment(suite)
    if any(each.tuning is not None for each in experiment.suites):
        return [(board_request(results, suite), None)]  # which raises: it has not run
    full = any(each.has_full_form for each in experiment.suites)
    report = _report(results, experiment.name)
    return [(request, report) for request in ask(experiment, full=full, data=data).requests]


def _report(results: Path, name: str) -> Path | None:
    page = results / name / "report.html"
    return page if page.exists() else None


def _sync(plan: Plan, results: Path, report: Path | None) -> int:
    """How many runs were written; mlflow is imported only if something may be missing."""
    from moebench.mlflow_store.database import open_client, writing
    from moebench.mlflow_store.ledger import Ledger
    from moebench.mlflow_store.write import Mirror, needs_sync
    from moebench.records import Store

    store = Store(results)
    if Ledger(results).certain and not needs_sync(plan, store, report):
        return 0
    with writing(results), _bar(f"{plan.suite.name} to MLflow") as progress:
        return Mirror(store, open_client(results)).write(plan, report, progress)


@contextmanager
def _bar(title: str) -> Iterator[Progress]:
    """A bar on a terminal; nothing elsewhere, or with ``--quiet``."""
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    console = plain_console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn())
    with RichProgress(*columns, console=console, transient=True, disable=is_quiet() or not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
