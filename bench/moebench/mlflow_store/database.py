"""The MLflow store of a results directory: where it is, and opening it for writing. mlflow is imported when opening."""

from __future__ import annotations

import logging
import os
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from moebench.errors import ResultsError
from moebench.records.leases import Leases

if TYPE_CHECKING:
    from mlflow import MlflowClient

LOG = logging.getLogger(__name__)

LEASE = "mlflow"
"""The lease of the process that writes MLflow for a results directory."""

AS_TRAINING = "workflowType=machine_learning"
"""In an address, so that MLflow's UI shows models that are trained rather than an application's traces."""

VIEW = "moebench"
"""The key of the view of an experiment that links lead to; see ``views``."""

UI_RESULTS = "MOEBENCH_UI_RESULTS"
"""The variable that tells the server of ``moebench ui`` whose boards to show."""

SPELT = "/ +[]{}(),;:@=&!$'*~^|<>"
"""Signs of a path that an address of SQLite has as they are."""

ANSWER_SECONDS = 10.0
"""How long a store that is no file may leave a question without an answer."""

QUICK = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": f"{ANSWER_SECONDS:.0f}",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": "30",
}
"""Settings of MLflow's client, where the environment has no others: by default it asks for minutes."""

DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
"""Schemes of stores that this process writes itself; artifacts then lie beside the results."""


def tracking_uri(results: Path) -> str:
    """MLFLOW_TRACKING_URI if it is set, else a SQLite file in the results directory; paths from the root."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or sqlite_uri(results.resolve() / "mlflow.db")
    LOG.info("MLflow's store: %s", uri.rpartition("@")[2])  # without a password
    scheme, _, path = uri.partition(":///")
    if database_path(uri):
        return uri if path.startswith("/") else f"{scheme}:///{quote(str(Path.cwd()), safe=SPELT)}/{path}"
    scheme = urlsplit(uri).scheme
    if scheme == "file" and not uri.startswith("file:/"):
        return Path(uri.removeprefix("file:")).absolute().as_uri()
    return str(Path(uri).absolute()) if not scheme and os.sep in uri else uri


def sqlite_uri(path: Path) -> str:
    """The address of a SQLite store; signs that have a meaning in addresses are escaped."""
    return f"sqlite:///{quote(str(path), safe=SPELT)}"


def database_path(uri: str) -> Path | None:
    """The file of a SQLite store; None for any other."""
    scheme, _, path = uri.partition(":///")
    return Path(unquote(path)).absolute() if scheme.partition("+")[0] == "sqlite" and path else None


def artifact_location(results: Path, uri: str) -> str | None:
    """Where the files of new runs go; None leaves it to the tracking server."""
    if urlsplit(uri).scheme.partition("+")[0] not in DATABASES:
        return None
    return (results.resolve() / "mlartifacts").as_uri()


def store_stamp(uri: str) -> int | None:
    """A number that a SQLite store got when it was first written to, 0 where there is none; None for any other store.

    A database made later at the same place has another number.
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


def answered(ask: Callable[[], object], seconds: float = ANSWER_SECONDS) -> None:
    """Ask a store something; what that raises, or a TimeoutError where it does not answer in time."""
    raised: list[Exception] = []

    def body() -> None:
        try:
            ask()
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    thread.join(seconds)
    if raised:
        raise raised[0]
    if thread.is_alive():
        raise TimeoutError(f"no answer within {seconds:g} seconds")


@contextmanager
def writing(results: Path) -> Iterator[None]:
    """Hold the right to write MLflow for a directory; :class:`ResultsError` if another process has it."""
    with Leases(results).hold(LEASE) as mine:
        if not mine:
            raise ResultsError(
                f"another process is writing MLflow for '{results}'; it writes this too.",
                code="mlflow-busy",
                results=results,
            )
        yield


def open_client(results: Path) -> MlflowClient:
    """A client of the results directory's store, which is made if there is none; takes seconds.

    :class:`ResultsError` if the store cannot be reached or used.
    """
    try:
        return _open(results)
    except Exception as error:  # whatever a store, its driver or the network between may raise
        raise could_not_write(error) from error


def could_not_write(error: BaseException | str) -> ResultsError:
    """The error for a store that cannot be written, for whatever reason."""
    lines = str(error).strip().splitlines()
    kind = "" if isinstance(error, str) else type(error).__name__
    cause = ": ".join(part for part in (kind, lines[0][:200] if lines else "") if part).rstrip(".")
    return ResultsError(
        f"MLflow could not be written ({cause}); run `moebench sync` later.", code="mlflow-not-written", cause=cause
    )


def _open(results: Path) -> MlflowClient:
    uri = tracking_uri(results)
    _answer_soon(uri)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from mlflow import MlflowClient

    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    path = database_path(uri)
    if path is not None and not path.exists():
        _create(path)
    client = MlflowClient(tracking_uri=uri)
    ask = partial(client.search_experiments, max_results=1)
    if path is None:
        answered(ask)
    else:  # a file: waiting for its lock is no silence
        ask()
    if path is not None and not store_stamp(uri):
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(f"PRAGMA user_version = {secrets.randbelow(2**31 - 1) + 1}")
    return client


def _answer_soon(uri: str) -> None:
    """A server that is not there is known within seconds, and one on this machine is asked without a proxy."""
    for name, value in QUICK.items():
        os.environ.setdefault(name, value)
    host = urlsplit(uri).hostname or ""
    if host in ("localhost", "::1") or host.startswith("127."):
        for name in ("no_proxy", "NO_PROXY"):
            known = os.environ.get(name, "")
            if host not in known.split(","):
                os.environ[name] = ",".join(filter(None, (known, host)))


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
        MlflowClient(tracking_uri=sqlite_uri(unfinished)).search_experiments(max_results=1)
        unfinished.replace(path)
        with closing(sqlite3.connect(path)) as connection:
            # Readers (the UI) and the writer do not wait for each other, and a run is written in half the time.
            connection.execute("PRAGMA journal_mode = WAL")
