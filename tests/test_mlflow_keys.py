"""Names that MLflow takes, whatever a variant calls itself."""

import pytest

from moebench.mlflow_store.database import open_client
from moebench.mlflow_store.experiment import LENGTH, key
from moebench.mlflow_store.write import Mirror
from moebench.records import Store
from tracking_world import MLFLOW_WARNINGS, make_plan, put_trials, ready_results

pytestmark = MLFLOW_WARNINGS
HOSTILE = ("<script>alert(1)</script>", "", "مزيج", "\u202eevil", "a" * 9000, "../../up", "/", "a//b", "a\nb", "$(rm)")


@pytest.mark.parametrize(
    "name", ["test_accuracy", "loss/balance", "host/dim", "rounds/forward_ms/soft_moe", "a b-c.d:e"]
)
def test_a_good_name_stays(name):
    assert key(name) == name


def test_two_bad_names_stay_two():
    names = [key(f"forward_ms/{name}") for name in (*HOSTILE, "<script>alert(2)</script>", "a" * 401)]
    assert len(set(names)) == len(names)
    assert all(len(name) <= LENGTH for name in names)


def test_mlflow_takes_every_name(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    results, plan = ready_results(tmp_path / "results"), make_plan(rows=["dense", *HOSTILE])
    store = Store(results)
    for group in plan.groups:
        put_trials(store, group)
    client = open_client(results)
    assert Mirror(store, client).write(plan) == 3 * (len(HOSTILE) + 1)
    assert Mirror(store, client).write(plan) == 0
    experiment = client.get_experiment_by_name("moebench/tiny/protocol 1")
    runs = client.search_runs([experiment.experiment_id])
    rows = {run.data.tags["moebench.row"] for run in runs if run.data.tags["moebench.kind"] == "study"}
    assert {row[:4999] for row in rows if not row.endswith("…")} >= {"dense", *HOSTILE} - {"a" * 9000}
    assert len(rows) == len(HOSTILE) + 1
    inside = (results / "mlartifacts").resolve()
    assert all(path.resolve().is_relative_to(inside) for path in inside.rglob("*"))
    assert {path.name for path in tmp_path.iterdir()} == {"results"}, "nothing was written beside"
