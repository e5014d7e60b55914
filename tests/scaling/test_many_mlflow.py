"""Runs reach MLflow at its own pace: a thousand in about a minute, here a tenth of them beside plain runs."""

import os
import time

from moebench.mlflow_store.database import open_client
from moebench.mlflow_store.write import Mirror, needs_sync
from moebench.records import Store
from tracking_world import MLFLOW_WARNINGS, make_plan, put_all, ready_results

pytestmark = MLFLOW_WARNINGS
TIMES = 9
"""Times of as many runs with nothing in them; 6 were measured. Seconds would differ from machine to machine."""


def test_a_hundred_runs(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # of the records, which are only there to be read
    results, plan = ready_results(tmp_path / "results"), make_plan(rows=["dense", *(f"v{n}" for n in range(19))])
    store = Store(results)
    put_all(store, plan)
    client = open_client(results)
    experiment = client.create_experiment("plain")
    began = time.process_time()  # of this process alone: the machine may be busy with others
    for _ in range(101):
        client.set_terminated(client.create_run(experiment).info.run_id)
    plain = time.process_time() - began
    began = time.process_time()
    assert Mirror(store, client).write(plan) == 101
    took = time.process_time() - began
    assert took < TIMES * plain, f"{took:.1f} s, and {plain:.1f} s for plain runs"
    assert Mirror(store, client).write(plan) == 0
    assert not needs_sync(plan, store)
