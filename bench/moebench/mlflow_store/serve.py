"""The MLflow UI as a process, on the store of a results directory."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from moebench.errors import ResultsError, UsageError
from moebench.mlflow_store.database import UI_RESULTS, artifact_location, database_path, sqlite_uri, tracking_uri
from moebench.processes import program, surroundings

LOG = logging.getLogger(__name__)

START_SECONDS = 120.0

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Opens addresses of this machine, which no proxy leads to."""

PRIVATE = ("10.*", "192.168.*", *(f"172.{part}.*" for part in range(16, 32)), "fc00:*", "fd00:*")
"""Patterns of hosts that MLflow's server answers by default, beside this machine's own."""


def server_address(results: Path) -> str | None:
    """The address of the tracking server that MLFLOW_TRACKING_URI names, which has its own UI; else None."""
    uri = tracking_uri(results)
    return uri if urlsplit(uri).scheme in ("http", "https") else None


def serve(
    results: Path, host: str, port: int, on_ready: Callable[[str], None], allowed_hosts: Sequence[str] = ()
) -> None:
    """Run the UI until it is interrupted; ``on_ready`` gets its address once it answers.

    allowed_hosts: names beside this machine's by which browsers may ask for it.
    """
    uri = tracking_uri(results)
    path = database_path(uri)
    if path is not None and not path.is_file():
        raise ResultsError(
            f"there is no MLflow database '{path}' yet; run a suite, or `moebench sync`.", code="no-mlflow", path=path
        )
    _check_port(host, port)
    url = f"http://{_reachable(host)}:{port}"
    log = _log(results)
    options = ["--host", host, "--port", str(port), *_allowed(host, port, allowed_hosts)]
    with (
        contextlib.suppress(KeyboardInterrupt),
        _writable(path, uri) as served,
        _server(results, served, options, log) as process,
    ):
        if _answers(url, process):
            on_ready(url)
            process.wait()
        if process.poll() is None:
            raise UsageError(
                f"the MLflow UI gave no answer for {START_SECONDS:.0f} s; see '{log}'.",
                code="ui-silent",
                log=log,
            )
        raise UsageError(f"the MLflow UI ended; see '{log}' for the cause.", code="ui-ended", log=log)


def _log(results: Path) -> Path:
    """Beside the results, or where those are another's, which may only be read, in a folder of its own."""
    log = results / ".mlflow" / "ui.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.open("ab").close()
    except OSError:
        return Path(tempfile.mkdtemp(prefix="moebench-ui-")) / log.name
    return log


@contextlib.contextmanager
def _writable(path: Path | None, uri: str) -> Iterator[str]:
    """The address to serve: the server writes to its store, so that of one which may only be read is a copy, with what
    SQLite had not yet put into the file itself. The copy is of this moment, and is gone when the block is left.
    """
    if path is None or (os.access(path.parent, os.W_OK) and os.access(path, os.W_OK)):
        yield uri
        return
    LOG.warning("'%s' may only be read: the UI shows a copy of it as it is now.", path)
    with tempfile.TemporaryDirectory(prefix="moebench-ui-", ignore_cleanup_errors=True) as folder:
        copy = Path(folder) / path.name
        try:
            for each in (path, path.with_name(f"{path.name}-wal")):
                if each.is_file():
                    shutil.copyfile(each, copy.with_name(each.name))
        except OSError as error:
            raise ResultsError(
                f"'{path}' cannot be copied ({error.strerror}), and may not be written.", code="store-not-copied"
            ) from error
        yield sqlite_uri(copy)


def _allowed(host: str, port: int, named: Sequence[str]) -> list[str]:
    """Options that let browsers ask for this machine by its names, where others may: the server answers no name that it
    does not know.
    """
    alone = host in ("127.0.0.1", "localhost", "::1")
    if not named and (alone or "MLFLOW_SERVER_ALLOWED_HOSTS" in os.environ):
        return []
    own = () if alone else (socket.gethostname(), socket.getfqdn(), "" if _reachable(host) != host else host)
    names = [*dict.fromkeys(filter(None, (*named, *own)))]
    known = ("localhost", "127.0.0.1", "[[]::1]", "0.0.0.0", *names)
    hosts = [*known, "[::1]", *(f"{each}:*" for each in known), *PRIVATE]
    origins = [f"http{s}://{each}{end}" for each in names for s in ("", "s") for end in ("", f":{port}")]
    return ["--allowed-hosts", ",".join(hosts), *(["--cors-allowed-origins", ",".join(origins)] if origins else [])]


def _reachable(host: str) -> str:
    """Where a browser on this machine finds a server that listens on ``host``, as an address writes it."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]" if ":" in host else host


def _check_port(host: str, port: int) -> None:
    """:class:`UsageError` if another program listens there, or the address is not this machine's."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UsageError(
                f"cannot listen on {host}:{port} ({error.strerror or error}); choose another with --port N.",
                code="port-taken",
                host=host,
                port=port,
            ) from error


@contextlib.contextmanager
def _server(results: Path, uri: str, how: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The server's process; ended, with its workers, whenever the block is left. What it prints goes to ``log``."""
    options = ["--backend-store-uri", uri, *how, "--workers", "1", "--app-name", "moebench"]
    artifacts = artifact_location(results, uri)
    if artifacts:
        options += ["--default-artifact-root", artifacts]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            program("mlflow", "ui", *options),
            cwd=log.parent,
            env={**quiet, **surroundings(), UI_RESULTS: str(results.resolve())},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield process
    finally:
        signal.signal(signal.SIGTERM, before)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _answers(url: str, process: subprocess.Popen[bytes]) -> bool:
    """Whether the server comes up, rather than ends."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), DIRECT.open(f"{url}/health", timeout=5):
            return True
        time.sleep(0.3)
    return False
