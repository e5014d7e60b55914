"""Fixed rows in a real MLflow store: a run a row, one a seed with what was measured of it, and the report."""

import pytest

from fixed_rows import VALUES, run, values, works, write
from moebench.mlflow_store.database import open_client
from moebench.mlflow_store.write import Mirror
from moebench.protocol import PROTOCOL
from moebench.records import Store
from tracking_world import MLFLOW_WARNINGS, ready_results

pytestmark = MLFLOW_WARNINGS


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A tiny suite, written to MLflow by its run."""
    folder = tmp_path_factory.mktemp("sweep")
    results = ready_results(folder / "results")
    given = values(training=VALUES["training"] | {"steps": 5})
    session = run(write(folder / "tiny.toml", given), results, full=True, mlflow=True)
    assert session.warnings == ()
    assert session.report is None, "it has no study"
    (plan,) = session.plans
    return plan, results


def runs_of(results):
    client = open_client(results)
    experiment = client.get_experiment_by_name(f"moebench/tiny/protocol {PROTOCOL}")
    return client, {run.info.run_name: run for run in client.search_runs([experiment.experiment_id], max_results=1000)}


def test_every_row_has_a_run_above_those_of_its_seeds(written):
    plan, results = written
    _, runs = runs_of(results)
    rows = {work.row for work in works(plan)}
    seeds = {f"{work.row} seed {work.index}" for work in works(plan)}
    assert set(runs) == rows | seeds
    for name in seeds:
        parent = runs[name].data.tags["mlflow.parentRunId"]
        assert parent == runs[name.partition(" seed ")[0]].info.run_id


def test_a_seed_has_its_scores_and_what_was_measured_of_it(written):
    _, results = written
    client, runs = runs_of(results)
    seed = runs["digits experts=8 seed 0"]
    metrics = seed.data.metrics
    assert metrics["test_accuracy"] == metrics["subset/all"]
    assert {"subset/combine_sum k 2", "cost/k 2 model_ms batch 1", "train_loss_nats", "total_params"} <= set(metrics)
    assert seed.data.params["experts"] == "8"
    names = {file.path for file in client.list_artifacts(seed.info.run_id)}
    assert names == {"record.json", "subset.json", "oracle.json", "cost.json"}
    norm = runs["norm experts=2 seed 1"].data.metrics
    assert "train_loss_squared" in norm
    assert norm["gaps/beyond_limit_at_largest"] == 1


def test_a_row_has_the_means_over_its_seeds(written):
    _, results = written
    _, runs = runs_of(results)
    each = [runs[f"digits experts=4 seed {index}"].data.metrics["subset/all"] for index in range(2)]
    assert runs["digits experts=4"].data.metrics["subset/all"] == pytest.approx(sum(each) / 2)
    assert "cost/k 1 model_ms batch 1" not in runs["digits experts=4"].data.metrics, "measured on one seed alone"


def test_what_is_there_is_not_written_again_and_the_report_comes_with_its_figures(written, tmp_path):
    plan, results = written
    store = Store(results)

    def sync_again(report=None):
        return Mirror(store, open_client(results)).write(plan, report)

    assert sync_again() == 0
    page = tmp_path / "report.html"
    page.write_text("<p>what was found</p>")
    (tmp_path / "figures").mkdir()
    for name in ("one.svg", "one.png", "notes.txt"):
        (tmp_path / "figures" / name).write_text(name)
    assert sync_again(page) == 1
    assert sync_again(page) == 0
    client, runs = runs_of(results)
    names = {file.path for file in client.list_artifacts(runs["report"].info.run_id)}
    assert names == {"report.html", "one.svg", "one.png"}
    page.write_text("<p>something else</p>")
    assert sync_again(page) == 1
