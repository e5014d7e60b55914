"""A small plan with made-up records, and MLflow stores that are ready at once, for the tests of tracking."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from moebench.plans.latency import latency_cells
from moebench.plans.plan import Group, Plan
from moebench.plans.rows import Row
from moebench.records import Cell, Record, Store
from moebench.suites import Suite

# MLflow's own use of SQLAlchemy; moebench's warnings stay errors.
MLFLOW_WARNINGS = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")
START = datetime(2026, 11, 1, 12, 0, 0, tzinfo=UTC)
STEPS = 250
RANGE = {"low": 1e-3, "high": 1e-2, "default": 3e-3}


def make_plan(*, rows: Iterable[str] = ("dense", "soft_moe"), budgets: Iterable[int] = (1000,)) -> Plan:
    """Two rows on the digits, two trials and two seeds each."""
    rows, budgets = list(rows), list(budgets)
    suite = Suite.model_validate(
        {
            "name": "tiny",
            "title": "Tiny",
            "budgets": budgets,
            "seeds": 2,
            "variants": rows,
            "task": [{"name": "digits"}],
            "host": {"name": "vit", "dim": 8},
            "training": {"steps": STEPS, "batch": 4},
            "tuning": {"trials": 2, "lr": RANGE, "weight_decay": RANGE},
        }
    )
    return Plan(
        suite=suite,
        protocol="1",
        device={"type": "cpu", "name": "a cpu", "torch": "cpu"},
        backend=None,
        data=None,
        rows=tuple(Row(name, name, name, f"code of {name}") for name in rows),
        groups=tuple(_group(name, budget) for name in rows for budget in budgets),
    )


def _group(row: str, budget: int) -> Group:
    template = {
        "protocol": "1",
        "task": "digits",
        "data_digest": "d",
        "split": "s",
        "host": {"name": "vit", "dim": 8, "replace": None},
        "axis": "total",
        "steps": STEPS,
        "batch": 4,
        "micro_batch": None,
        "precision": "fp32",
        "threads": 1,
        "variant": row,
        "code_digest": f"code of {row}",
        "budget": budget,
    }
    shared = ({"lr": 0.003}, {"lr": 0.001})
    own = (
        {"experts": 8, "loss/balance": 0.01, "threads": "a setting"},
        {"experts": 16, "loss/balance": 0.1, "threads": "b"},
    )
    return Group(
        row=row,
        task="digits",
        budget=budget,
        amount=budget,
        template=template,
        trials=tuple({**o, **s} for o, s in zip(own, shared, strict=True)),
        trial_seeds=(11, 12),
        final_seeds=(21, 22),
        space={},
        shared=shared,
    )


def record_of(cell: Cell, scores: dict[str, float | None], *, minute: int = 0, **changes: Any) -> Record:
    """A done record that started so many minutes after START and took 30 seconds."""
    values: dict[str, Any] = {
        "identity": cell.identity,
        "cell": cell.to_json(),
        "status": "done",
        "scores": scores,
        "counts": {"sizes": [4, 4], "total_params": 998, "active_params": 500, "flops_per_input": 12345},
        "details": {"train_seconds": 20.5, "peak_memory_mib": 3.25},
        "provenance": {
            "device": "a cpu",
            "backend": "auto",
            "machine": "a machine",
            "versions": {"torch": "2"},
            "started": (START + timedelta(minutes=minute)).isoformat(timespec="seconds"),
            "seconds": 30.0,
        },
    }
    return Record.model_validate(values | changes)


def put_trials(store: Store, group: Group, accuracies: Iterable[float] = (0.9, 0.95)) -> list[Record]:
    """Settled trials, one a minute."""
    records = [
        record_of(cell, {"validation_accuracy": accuracy, "validation_loss_nats": 1 - accuracy}, minute=index)
        for index, (cell, accuracy) in enumerate(zip(group.trial_cells, accuracies, strict=True))
    ]
    for record in records:
        store.put(record)
    return records


def put_finals(store: Store, group: Group, **changes: Any) -> list[Record]:
    """Settled final runs, after the trials; test accuracies 0.8 and 0.9. Every run gets a sidecar."""
    records = [
        record_of(
            cell,
            {"validation_accuracy": 0.9, "test_accuracy": 0.8 + 0.1 * index, "specialization": None},
            minute=10 + index,
            **changes,
        )
        for index, cell in enumerate(group.final_cells(store.get))
    ]
    for record in records:
        store.put(record)
        store.put_arrays(record.identity, sidecar())
    return records


def put_latency(store: Store, plan: Plan) -> list[Record]:
    """A session in which the second finalist takes twice as long as the first in each round."""
    records = []
    for cell in latency_cells(plan, store.get):
        rows = {g.final_cells(store.get)[0].identity: g.row for g in plan.groups if g.winner(store.get) is not None}
        finalists = {
            identity: {
                "row": rows[identity],
                "forward_ms": [float(factor * ms) for ms in (1, 2, 4)],
                "peak_memory_mib": 7.5,
                "weights": "final",
            }
            for factor, identity in enumerate(cell.session["finalists"], 1)
        }
        records.append(record_of(cell, {}, minute=20, counts={}, details={"finalists": finalists}))
        store.put(records[-1])
    return records


def put_all(store: Store, plan: Plan) -> None:
    """Records of every run of a plan."""
    for group in plan.groups:
        put_trials(store, group)
        put_finals(store, group)
    put_latency(store, plan)


def put_board(directory: Path, *, protocol: str = "1", markdown: str = "| rank |\n") -> None:
    """The files of a board."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "board.json").write_text(f'{{"suite": "tiny", "protocol": "{protocol}"}}', encoding="utf-8")
    (directory / "board.md").write_text(markdown, encoding="utf-8")
    (directory / "board.html").write_text("<p>board</p>", encoding="utf-8")
    (directory / "board.csv").write_text("variant\n", encoding="utf-8")


def sidecar() -> dict[str, np.ndarray]:
    """Loss falls from 250 to 1, one a step; layer 0 has all mass on one of four experts, layer 1 three tenths each
    on three and one tenth on the last.
    """
    mass_SLE = np.zeros((STEPS, 2, 4), dtype=np.float32)
    mass_SLE[:, 0, 0] = 4
    mass_SLE[:, 1] = [3, 3, 3, 1]
    return {"loss_S": np.arange(STEPS, 0, -1, dtype=np.float32), "mass_SLE": mass_SLE}


def free_port() -> int:
    """A port of the loopback address at which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def tracking_server(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A tracking server with its own database in the folder, which takes artifacts too; its address and process."""
    fill_database(folder / "there.db")
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'there.db'}", "--serve-artifacts"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    environment |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        url = f"http://127.0.0.1:{port}"
        until = time.monotonic() + 120
        while time.monotonic() < until and process.poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=5):
                break
            time.sleep(0.3)
        yield url, process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


@contextlib.contextmanager
def served(results: Path) -> Iterator[tuple[str, list[str]]]:
    """``moebench ui`` on results with one board: its address, and the three lines that it prints."""
    port = free_port()
    words = ["ui", "--results", str(results), "--port", str(port)]
    process = subprocess.Popen([sys.executable, "-m", "moebench", *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{port}", [process.stdout.readline() for _ in range(3)]
    finally:
        process.send_signal(signal.SIGTERM)
        with process:
            assert process.wait(30) == 0
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))  # fails if a worker of the server was left behind


def ready_results(folder: Path) -> Path:
    """A results directory whose database has its tables: making them takes 8 s, copying them none."""
    folder.mkdir(parents=True, exist_ok=True)
    fill_database(folder / "mlflow.db")
    return folder


def fill_database(path: Path) -> None:
    """Make a database, or all of what is in it, what moebench makes of a new one."""
    with closing(sqlite3.connect(_template())) as source, closing(sqlite3.connect(path)) as target:
        source.backup(target)
        target.execute("PRAGMA user_version = 0")


@functools.cache
def _template() -> Path:
    from moebench.mlflow_store.database import open_client

    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with warnings.catch_warnings():  # MLflow's own, as MLFLOW_WARNINGS
        warnings.simplefilter("ignore")
        open_client(folder)
    return folder / "mlflow.db"
