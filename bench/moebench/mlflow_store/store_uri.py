"""Which MLflow store a results directory writes to. Imports no mlflow, which takes seconds."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

AS_TRAINING = "workflowType=machine_learning"
"""In an address, so that MLflow's UI shows models that are trained rather than an application's traces."""

UI_RESULTS = "MOEBENCH_UI_RESULTS"
"""The variable that tells the server of ``moebench ui`` whose boards to show."""

DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
"""Schemes of stores that this process writes itself; artifacts then lie beside the results."""


def tracking_uri(results: Path) -> str:
    """MLFLOW_TRACKING_URI if it is set, else a SQLite file in the results directory."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{results.resolve() / 'mlflow.db'}"


def database_path(uri: str) -> Path | None:
    """The file of a SQLite store; None for any other."""
    scheme, _, path = uri.partition(":///")
    return Path(path).absolute() if scheme.partition("+")[0] == "sqlite" and path else None


def artifact_location(results: Path, uri: str) -> str | None:
    """Where the files of new runs go; None leaves it to the tracking server."""
    if urlsplit(uri).scheme.partition("+")[0] not in DATABASES:
        return None
    return (results.resolve() / "mlartifacts").as_uri()


def store_stamp(uri: str) -> int | None:
    """A number that a SQLite store was given when it was first written to, 0 where there is none.

    It tells a database from one made later at the same place. None for a store that is no SQLite file.
    """
    path = database_path(uri)
    if path is None:
        return None
    try:
        if not path.exists():
            return 0
        with closing(sqlite3.connect(path)) as connection:
            return int(connection.execute("PRAGMA user_version").fetchone()[0])
    except (OSError, sqlite3.Error):
        return 0
