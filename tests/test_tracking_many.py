"""A thousand runs reach MLflow in under a minute: here a tenth of them, in a tenth of it."""

import os
import time

from moebench.runs import Store
from moebench.tracking.database import open_client
from moebench.tracking.ledger import Ledger
from moebench.tracking.write import needs_sync, sync
from tracking_world import MLFLOW_WARNINGS, make_plan, put_all, ready_results

pytestmark = MLFLOW_WARNINGS
SECONDS = 6.0


def test_a_hundred_runs(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # of the records, which are only there to be read
    results, plan = ready_results(tmp_path / "results"), make_plan(rows=["dense", *(f"v{n}" for n in range(19))])
    store = Store(results)
    put_all(store, plan)
    client = open_client(results)
    began = time.process_time()  # of this process alone: the machine may be busy with others
    assert sync(plan, store, client, Ledger(results)) == 101
    took = time.process_time() - began
    assert took < SECONDS, f"{took:.1f} s"
    assert sync(plan, store, client, Ledger(results)) == 0
    assert not needs_sync(plan, store, Ledger(results))
