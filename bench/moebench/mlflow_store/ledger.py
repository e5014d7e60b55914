"""What was written to which MLflow store, to find out without mlflow that nothing is missing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from moebench.files import LARGE, read_text
from moebench.mlflow_store.database import store_stamp, tracking_uri
from moebench.records.canonical import digest
from moebench.records.store import write_atomic


class LoggedRun(NamedTuple):
    """A run in MLflow. version: digest of what it was written from, empty if cut short. parent: run id."""

    run_id: str
    version: str
    parent: str = ""


class Ledger:
    """Runs by experiment and key: a cache of the store. Lost or outdated it is empty.

    ``certain``: whether it detects that the store is no longer the one it was written for, as it can for SQLite.
    """

    def __init__(self, results: Path) -> None:
        self._uri = tracking_uri(results)
        self._path = results / ".mlflow" / f"{digest(self._uri)}.json"
        self.certain = store_stamp(self._uri) is not None

    def known(self, experiment: str) -> dict[str, LoggedRun]:
        """The runs of an experiment, by key; empty if the database is not the one they were written to."""
        return {key: LoggedRun(*value) for key, value in self._read().get(experiment, {}).items()}

    def save(self, experiment: str, known: Mapping[str, LoggedRun]) -> None:
        """Remember the runs of an experiment."""
        values = {"store": store_stamp(self._uri), "experiments": {**self._read(), experiment: dict(known)}}
        write_atomic(self._path, (json.dumps(values, indent=0) + "\n").encode())

    def _read(self) -> dict[str, dict[str, list[str]]]:
        try:
            values = json.loads(read_text(self._path, LARGE))
            stamp, experiments = values["store"], values["experiments"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return {}
        return dict(experiments) if stamp == store_stamp(self._uri) and stamp != 0 else {}
