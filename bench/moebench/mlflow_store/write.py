"""Bring MLflow up to date with the records of a plan. Writing twice writes nothing the second time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from moebench.errors import ResultsError
from moebench.mlflow_store.content import Entry
from moebench.mlflow_store.database import could_not_write
from moebench.mlflow_store.entries import entries
from moebench.mlflow_store.labels import experiment_name, experiment_tags
from moebench.mlflow_store.ledger import Ledger
from moebench.plans.generations import grown
from moebench.plans.history import board_directory
from moebench.plans.plan import Lookup, Plan
from moebench.records import Store
from moebench.runner.run_plan import Records

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from moebench.mlflow_store.experiment import Experiment

Progress = Callable[[int, int], None]
"""Told how many runs are written, and of how many."""
GIVE_UP_AFTER = 3
"""Failures in a row after which the store counts as out of reach."""


def needs_sync(plan: Plan, store: Store, ledger: Ledger, report: Path | None = None) -> bool:
    """Whether MLflow lacks anything, as far as can be told without importing it."""
    known = ledger.known(experiment_name(plan))
    return any(
        entry.key not in known or known[entry.key].version != entry.version
        for entry in wanted(plan, store, Records(store), report)
    )


def sync(
    plan: Plan,
    store: Store,
    client: MlflowClient,
    ledger: Ledger,
    progress: Progress | None = None,
    report: Path | None = None,
) -> int:
    """Write what MLflow lacks; returns how many runs that were. The caller holds ``database.writing``."""
    runs = wanted(plan, store, Records(store), report)
    if not runs:
        return 0
    experiment = open_experiment(plan, store, client)
    try:
        return write_missing(experiment, runs, progress)
    finally:
        ledger.save(experiment.name, experiment.known)


def open_experiment(plan: Plan, store: Store, client: MlflowClient) -> Experiment:
    """The plan's experiment, with the runs that it has."""
    from moebench.mlflow_store.experiment import Experiment

    return Experiment(client, experiment_name(plan), experiment_tags(plan), store.root)


def wanted(plan: Plan, store: Store, lookup: Lookup, report: Path | None = None, *, live: bool = False) -> list[Entry]:
    """All runs that MLflow should have of a plan, its board in the usual place. report: the study's page, its figures
    beside it.
    """
    board = board_directory(store.root, plan.suite.name, plan.protocol)
    return list(entries(grown(plan, lookup), store, lookup, board, report, live=live))


def write_missing(experiment: Experiment, entries: list[Entry], progress: Progress | None = None) -> int:
    """Write the runs that the experiment lacks; :class:`ResultsError` at the end if some could not be."""
    total = sum(not experiment.has(entry) for entry in entries)
    written = in_a_row = 0
    problem = ""
    for entry in entries:
        if experiment.has(entry):
            continue
        try:
            experiment.write(entry)
        except Exception as error:  # whatever a store, its driver or the network between may raise
            problem = problem or could_not_write(error)
            in_a_row += 1
            if in_a_row == GIVE_UP_AFTER:
                break
            continue
        written, in_a_row = written + 1, 0
        if progress:
            progress(written, max(total, written))
    if problem:
        raise ResultsError(problem)
    return written
