"""MLflow's store locked, removed, or its server gone, while a suite runs: the suite ends well, and says what to do."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.request
from contextlib import closing

from fault_suites import STEPS, end, kill_all, records, scores, start, until

from tiny import write_suite

LATER = "run `moebench sync` later"


def sync(results, **environment):
    command = [sys.executable, "-m", "moebench", "sync", "--results", str(results)]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)


def test_a_locked_database_fails_no_run(tmp_path, undisturbed):
    suite, results = write_suite(tmp_path, steps=STEPS), tmp_path / "results"
    process = start(suite, results, mlflow=True)
    until((results / "mlflow.db").exists)
    with closing(sqlite3.connect(results / "mlflow.db", timeout=60)) as other:
        other.execute("BEGIN EXCLUSIVE")
        code, _, err = end(process, 420)
        other.rollback()
    assert code == 0, err
    assert "Traceback" not in err
    assert LATER in err
    assert scores(results) == undisturbed.scores
    done = sync(results)
    assert done.returncode == 0, done.stderr


def test_a_database_that_is_removed_fails_no_run(tmp_path, undisturbed):
    suite, results = write_suite(tmp_path, steps=STEPS), tmp_path / "results"
    process = start(suite, results, mlflow=True)
    until(lambda: (results / "mlflow.db").exists() and records(results))
    for path in results.glob("mlflow.db*"):
        path.unlink()
    code, _, err = end(process, 420)
    assert code == 0, err
    assert "Traceback" not in err
    assert scores(results) == undisturbed.scores
    done = sync(results)
    assert done.returncode == 0, done.stderr


def test_a_server_that_goes_away_fails_no_run(tmp_path, undisturbed):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    uri = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    store = [
        "--backend-store-uri",
        f"sqlite:///{tmp_path}/server.db",
        "--artifacts-destination",
        str(tmp_path / "files"),
    ]
    server = subprocess.Popen(
        [*command, *store], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        until(lambda: answers(uri))
        suite, results = write_suite(tmp_path, steps=STEPS), tmp_path / "results"
        process = start(suite, results, mlflow=True, MLFLOW_TRACKING_URI=uri)
        until(lambda: records(results))
        os.killpg(server.pid, signal.SIGKILL)
        code, _, err = end(process, 420)
        assert code == 0, err
        assert "Traceback" not in err
        assert LATER in err
        assert scores(results) == undisturbed.scores
    finally:
        kill_all(server)


def answers(uri):
    try:
        with urllib.request.urlopen(f"{uri}/health", timeout=1) as answer:
            return answer.status == 200
    except OSError:
        return False
