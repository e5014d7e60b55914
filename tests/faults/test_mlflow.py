"""MLflow's store locked, removed, or its server gone, while a suite runs: the suite ends well, and says what to do."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

from fault_suites import STEPS, end, records, scores, start, until

from tiny import write_suite
from tracking_world import tracking_server

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
    with tracking_server(tmp_path) as (uri, server):
        suite, results = write_suite(tmp_path, steps=STEPS), tmp_path / "results"
        process = start(suite, results, mlflow=True, MLFLOW_TRACKING_URI=uri)
        until(lambda: records(results))
        os.killpg(server.pid, signal.SIGKILL)
        code, _, err = end(process, 420)
        assert code == 0, err
        assert "Traceback" not in err
        assert LATER in err
        assert scores(results) == undisturbed.scores
