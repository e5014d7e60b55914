"""The MLflow UI as a process, on the store of a results directory."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from moebench.errors import ResultsError, UsageError
from moebench.mlflow_store.database import UI_RESULTS, artifact_location, database_path, tracking_uri
from moebench.processes import program, surroundings

START_SECONDS = 120.0


def server_address(results: Path) -> str | None:
    """The address of the tracking server that MLFLOW_TRACKING_URI names, which has its own UI; else None."""
    uri = tracking_uri(results)
    return uri if urlsplit(uri).scheme in ("http", "https") else None


def serve(results: Path, host: str, port: int, on_ready: Callable[[str], None]) -> None:
    """Run the UI until it is interrupted; ``on_ready`` gets its address once it answers."""
    uri = tracking_uri(results)
    path = database_path(uri)
    if path is not None and not path.is_file():
        raise ResultsError(
            f"there is no MLflow database '{path}' yet; run a suite, or `moebench sync`.", code="no-mlflow", path=path
        )
    _check_port(host, port)
    url = f"http://{_reachable(host)}:{port}"
    log = results / ".mlflow" / "ui.log"
    with contextlib.suppress(KeyboardInterrupt), _server(results, uri, host, port, log) as process:
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
def _server(results: Path, uri: str, host: str, port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The server's process; ended, with its workers, whenever the block is left. What it prints goes to ``log``."""
    options = ["--backend-store-uri", uri, "--host", host, "--port", str(port), "--workers", "1"]
    options += ["--app-name", "moebench"]
    artifacts = artifact_location(results, uri)
    if artifacts:
        options += ["--default-artifact-root", artifacts]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    log.parent.mkdir(parents=True, exist_ok=True)
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
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=5):
            return True
        time.sleep(0.3)
    return False
