"""Open the MLflow store for writing. Only one process at a time may: see :func:`writing`."""

from __future__ import annotations

import logging
import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from moebench.errors import ResultsError
from moebench.mlflow_store.store_uri import artifact_location, database_path, store_stamp, tracking_uri
from moebench.records.leases import Leases

if TYPE_CHECKING:
    from mlflow import MlflowClient


LEASE = "mlflow"
"""The lease of whoever writes MLflow for a results directory."""


@contextmanager
def writing(results: Path) -> Iterator[None]:
    """Hold the right to write MLflow for a directory; :class:`ResultsError` if another process has it."""
    with Leases(results).hold(LEASE) as mine:
        if not mine:
            raise ResultsError(f"another process is writing MLflow for '{results}'; it writes this too.")
        yield


def open_client(results: Path) -> MlflowClient:
    """A client of the results directory's store, which is made if there is none; takes seconds.

    :class:`ResultsError` if the store cannot be reached or used.
    """
    try:
        return _open(results)
    except Exception as error:  # whatever a store, its driver or the network between may raise
        raise ResultsError(could_not_write(error)) from error


def could_not_write(error: BaseException | str) -> str:
    """The sentence that says so."""
    lines = str(error).strip().splitlines()
    kind = "" if isinstance(error, str) else type(error).__name__
    cause = ": ".join(part for part in (kind, lines[0][:200] if lines else "") if part)
    return f"MLflow could not be written ({cause.rstrip('.')}); run `moebench sync` later."


def _open(results: Path) -> MlflowClient:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from mlflow import MlflowClient

    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    uri = tracking_uri(results)
    path = database_path(uri)
    if path is not None and not path.exists():
        _create(path)
    client = MlflowClient(tracking_uri=uri)
    client.search_experiments(max_results=1)  # a store that cannot be reached says so here
    if path is not None and not store_stamp(uri):
        _stamp(path)
    return client


def find_or_create_experiment(client: MlflowClient, name: str, tags: dict[str, str], results: Path) -> str:
    """The id of the experiment; one that was deleted comes back."""
    found = client.get_experiment_by_name(name)
    if found is None:
        location = artifact_location(results, tracking_uri(results))
        return str(client.create_experiment(name, artifact_location=location, tags=tags))
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _create(path: Path) -> None:
    """Make the tables in a file beside ``path``, then rename it: who finds the database finds it whole."""
    from filelock import FileLock
    from mlflow import MlflowClient

    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):  # two results directories may name one database
        if path.exists():
            return
        unfinished = path.with_name(f"{path.name}.new")
        for leftover in path.parent.glob(f"{unfinished.name}*"):
            leftover.unlink()
        MlflowClient(tracking_uri=f"sqlite:///{unfinished}").search_experiments(max_results=1)
        unfinished.replace(path)
        with closing(sqlite3.connect(path)) as connection:
            # Readers (the UI) and the writer do not wait for each other, and a run is written in half the time.
            connection.execute("PRAGMA journal_mode = WAL")


def _stamp(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {secrets.randbelow(2**31 - 1) + 1}")
