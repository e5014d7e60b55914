"""Bring MLflow up to date with the records of a plan. Writing twice writes nothing the second time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from moebench.mlflow_store.content import RunEntry
from moebench.mlflow_store.database import could_not_write
from moebench.mlflow_store.entries import entries
from moebench.mlflow_store.labels import experiment_name, experiment_tags
from moebench.mlflow_store.ledger import Ledger
from moebench.plans.generations import grown
from moebench.plans.history import board_directory
from moebench.plans.plan import Lookup, Plan
from moebench.records import Records, Store

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from moebench.mlflow_store.experiment import TrackedExperiment

Progress = Callable[[int, int], None]
"""Called with how many runs are written, and of how many."""
GIVE_UP_AFTER = 3
"""Consecutive failures after which the store counts as unreachable."""


def needs_sync(plan: Plan, store: Store, report: Path | None = None) -> bool:
    """Whether MLflow lacks anything, as far as the ledger knows, without importing mlflow."""
    known, lookup = Ledger(store.root).known(experiment_name(plan)), Records(store)
    return any(
        entry.key not in known or known[entry.key].version != entry.version
        for entry in _wanted(grown(plan, lookup), store, lookup, report)
    )


class Mirror:
    """Writes MLflow from the records of a results directory; whoever has one holds ``database.writing``."""

    def __init__(self, store: Store, client: MlflowClient) -> None:
        self._store, self._client, self._lookup = store, client, Records(store)
        self._plans: dict[str, Plan] = {}
        self._experiments: dict[str, TrackedExperiment] = {}

    def write(
        self, plan: Plan, report: Path | None = None, progress: Progress | None = None, *, live: bool = False
    ) -> int:
        """Write what MLflow lacks of a plan; returns the number of runs written.

        report: the study's page, its figures beside it. live: more of its runs may come.
        :class:`ResultsError` at the end if some could not be written.
        """
        name = plan.suite.name
        plan = self._plans[name] = grown(self._plans.get(name, plan), self._lookup)
        wanted = _wanted(plan, self._store, self._lookup, report, live=live)
        if not wanted:
            return 0
        if name not in self._experiments:
            from moebench.mlflow_store.experiment import TrackedExperiment

            self._experiments[name] = TrackedExperiment(
                self._client, experiment_name(plan), experiment_tags(plan), self._store.root
            )
        experiment = self._experiments[name]
        try:
            return _write_missing(experiment, wanted, progress)
        finally:
            Ledger(self._store.root).save(experiment.name, experiment.known)


def _wanted(plan: Plan, store: Store, lookup: Lookup, report: Path | None, *, live: bool = False) -> list[RunEntry]:
    """All runs that MLflow should have of a plan, its board in the usual place."""
    board = board_directory(store.root, plan.suite.name, plan.protocol)
    return list(entries(plan, store, lookup, board, report, live=live))


def _write_missing(experiment: TrackedExperiment, wanted: list[RunEntry], progress: Progress | None) -> int:
    total = sum(not experiment.has(entry) for entry in wanted)
    written = in_a_row = 0
    problem = None
    for entry in wanted:
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
        raise problem
    return written
