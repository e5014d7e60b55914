"""MLflow elsewhere: a real tracking server on the loopback, named by MLFLOW_TRACKING_URI."""

import pytest
from mlflow import MlflowClient

from moebench.errors import ResultsError
from moebench.mlflow_store.database import open_client
from moebench.mlflow_store.serve import server_address
from moebench.mlflow_store.write import Mirror
from moebench.records import Store
from tracking_world import MLFLOW_WARNINGS, make_plan, put_all, put_board, tracking_server

pytestmark = MLFLOW_WARNINGS


def test_everything_is_written_to_a_server_once_and_one_that_is_gone_is_one_sentence(tmp_path, monkeypatch):
    results, plan = tmp_path / "results", make_plan()
    store = Store(results)
    store.prepare()
    put_all(store, plan)
    put_board(results / "tiny", markdown="| rank |\n| --- |\n")
    with tracking_server(tmp_path) as (url, _):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        assert server_address(results) == url
        assert Mirror(store, open_client(results)).write(plan) == 12
        assert Mirror(store, open_client(results)).write(plan) == 0
        there = MlflowClient(tracking_uri=url)
        experiment = there.get_experiment_by_name("moebench/tiny/protocol 1")
        assert experiment.tags["mlflow.note.content"].startswith("| rank |")
        runs = there.search_runs([experiment.experiment_id])
        assert len(runs) == 12
        final = next(run for run in runs if run.info.run_name == "soft_moe digits seed 1")
        assert final.data.metrics["test_accuracy"] == pytest.approx(0.9)
        text = there.download_artifacts(final.info.run_id, "record.json", str(tmp_path))
        with open(text, encoding="utf-8") as file:
            assert '"test_accuracy": 0.9' in file.read()
        assert (tmp_path / "artifacts").is_dir(), "files went through the server"
    assert not (results / "mlflow.db").exists(), "nothing was written here"
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ResultsError) as caught:
        open_client(results)
    assert caught.value.code == "mlflow-not-written"
