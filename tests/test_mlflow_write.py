import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from mlflow.exceptions import MlflowException

from moebench.errors import ResultsError
from moebench.mlflow_store.database import open_client
from moebench.mlflow_store.write import Mirror, needs_sync
from moebench.records import Store
from tracking_world import (
    MLFLOW_WARNINGS,
    START,
    fill_database,
    make_plan,
    put_all,
    put_board,
    put_finals,
    put_latency,
    put_trials,
    ready_results,
    record_of,
    sidecar,
)

pytestmark = MLFLOW_WARNINGS
EXPERIMENT = "moebench/tiny/protocol 1"


class World:
    """A results directory with its own MLflow store, and what a person would look up in it."""

    def __init__(self, folder: Path, plan=None):
        self.results = ready_results(folder)
        self.plan = plan or make_plan()
        self.store = Store(self.results)
        self.client = open_client(self.results)

    def sync(self):
        return Mirror(self.store, self.client).write(self.plan)

    def needs_sync(self):
        return needs_sync(self.plan, self.store)

    def experiment(self):
        return self.client.get_experiment_by_name(EXPERIMENT)

    def runs(self, filter_string=""):
        return list(self.client.search_runs([self.experiment().experiment_id], filter_string=filter_string))

    def run(self, name):
        (run,) = [run for run in self.runs() if run.info.run_name == name]
        return run

    def text(self, run, name):
        return Path(self.client.download_artifacts(run.info.run_id, name)).read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def _own_store(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """Everything of a plan, written once; its directory's name has a space in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        world = World(tmp_path_factory.mktemp("full") / "my results")
        put_all(world.store, world.plan)
        put_board(world.results / "tiny")
        world.written = world.sync()
    return world


@pytest.fixture
def world(tmp_path):
    return World(tmp_path / "results")


def test_every_run_is_there_once_under_its_study(full):
    names = sorted(run.info.run_name for run in full.runs())
    children = [
        f"{row} digits{what}"
        for row in ("dense", "soft_moe")
        for what in ("", " seed 0", " seed 1", " trial 0", " trial 1")
    ]
    assert names == sorted([*children, "board", "latency digits"])
    assert full.written == len(names)
    for row in ("dense", "soft_moe"):
        parent = full.run(f"{row} digits").info.run_id
        below = full.runs(f"tags.`mlflow.parentRunId` = '{parent}'")
        assert {run.info.run_name for run in below} == {name for name in children if name.startswith(f"{row} digits ")}


def test_a_final_run_carries_its_settings_scores_costs_and_record(full):
    run = full.run("soft_moe digits seed 1")
    params, metrics, tags = run.data.params, run.data.metrics, run.data.tags
    expected = {"row": "soft_moe", "experts": "16", "lr": "0.001", "loss/balance": "0.1", "budget": "1000"}
    expected |= {"host": "vit", "host/dim": "8", "seed": "22", "device": "a cpu", "version/torch": "2"}
    assert expected.items() <= params.items()
    assert (params["threads"], params["setting/threads"]) == ("1", "b"), "a setting hid a field of the run"
    assert metrics["test_accuracy"] == pytest.approx(0.9)
    assert (metrics["total_params"], metrics["train_seconds"], metrics["run_seconds"]) == (998, 20.5, 30)
    assert "specialization" not in metrics, "null was written as a number"
    assert tags["moebench.status"] == "done"
    assert (tags["moebench.row"], tags["moebench.kind"]) == ("soft_moe", "final")
    identity = tags["moebench.identity"]
    assert json.loads(full.text(run, "record.json")) == full.store.get(identity).model_dump(mode="json")


def test_a_run_names_its_data_with_digest_and_split(full):
    for kind in ("study", "trial", "final"):
        run = next(run for run in full.runs() if run.data.tags["moebench.kind"] == kind)
        (entry,) = run.inputs.dataset_inputs
        assert (entry.dataset.name, entry.dataset.digest) == ("digits", "d")
        assert '"split": "s"' in entry.dataset.profile


def test_times_are_those_of_the_run_not_of_the_writing(full):
    info = full.run("dense digits seed 1").info
    begin = round((START + timedelta(minutes=11)).timestamp() * 1000)
    assert (info.status, info.start_time, info.end_time) == ("FINISHED", begin, begin + 30_000)
    study = full.run("dense digits").info
    assert study.start_time == round(START.timestamp() * 1000)
    assert study.end_time == begin + 30_000


def test_curves_are_thinned_to_window_means(full):
    run_id = full.run("dense digits seed 0").info.run_id
    loss = sorted(full.client.get_metric_history(run_id, "train_loss_nats"), key=lambda point: point.step)
    assert len(loss) == 100
    assert loss[0].step in (2, 3)
    assert loss[-1].step == 250
    assert loss[-1].timestamp == full.run("dense digits seed 0").info.end_time
    assert loss[0].value == pytest.approx(250 - (loss[0].step - 1) / 2)
    # Layer 0: entropy 0, three of four experts dead, the largest share 4 x the mean. Layer 1: -(0.9 ln 0.3 +
    # 0.1 ln 0.1) / ln 4 = 0.94773, none dead, 1.2 x the mean.
    for name, mean in (
        ("train_load_entropy", 0.473866),
        ("train_dead_share", 0.375),
        ("train_max_violation", 1.6),
    ):
        history = full.client.get_metric_history(run_id, name)
        assert [point.value for point in history] == pytest.approx([mean] * 100, abs=1e-5), name


def test_a_study_has_the_winners_settings_mean_scores_and_timings(full):
    run = full.run("soft_moe digits")
    assert run.info.status == "FINISHED"
    assert {
        "winner": "trial 1",
        "experts": "16",
        "lr": "0.001",
        "seeds": "2",
    }.items() <= run.data.params.items()
    metrics = run.data.metrics
    assert metrics["test_accuracy"] == pytest.approx(0.85)
    assert (metrics["total_params"], metrics["finals_done"]) == (998, 2)
    assert (metrics["forward_ms"], metrics["forward_ratio_to_dense"]) == (4, 2)


def test_a_latency_session_is_one_run_with_medians_and_rounds(full):
    run = full.run("latency digits")
    metrics = run.data.metrics
    assert (metrics["forward_ms/dense"], metrics["forward_ms/soft_moe"]) == (2, 4)
    assert metrics["forward_ratio_to_dense/soft_moe"] == 2
    rounds = full.client.get_metric_history(run.info.run_id, "rounds/forward_ms/soft_moe")
    assert [point.value for point in sorted(rounds, key=lambda point: point.step)] == [2, 4, 8]
    assert "mlflow.parentRunId" not in run.data.tags


def test_the_board_is_an_artifact_and_the_note(full):
    files = {file.path for file in full.client.list_artifacts(full.run("board").info.run_id)}
    assert files == {"board.json", "board.md", "board.html", "board.csv"}
    assert full.experiment().tags["mlflow.note.content"] == "| rank |\n"
    assert len(list((full.results / "mlartifacts").rglob("record.json"))) == 9, "artifacts lie beside the results"


def test_writing_twice_writes_nothing_twice_even_without_the_ledger(world):
    put_all(world.store, world.plan)
    put_board(world.results / "tiny")
    assert world.needs_sync()
    world.sync()
    before = {run.info.run_id for run in world.runs()}
    assert not world.needs_sync()
    assert world.sync() == 0
    for path in (world.results / ".mlflow").glob("*.json"):
        path.write_text("{", encoding="utf-8")
    assert world.needs_sync()
    assert world.sync() == 0
    assert {run.info.run_id for run in world.runs()} == before
    assert not world.needs_sync()


def test_the_ledger_is_not_believed_of_another_database(world):
    put_all(world.store, world.plan)
    written = world.sync()
    fill_database(world.results / "mlflow.db")
    assert world.needs_sync(), "an empty database was taken for the one that was written"
    assert World(world.results.parent / "results", world.plan).sync() == written
    (world.results / "mlflow.db").unlink()
    assert world.needs_sync(), "a database that is not there was taken for the one that was written"


def test_a_retried_run_takes_the_place_of_the_failed_one(world):
    group = world.plan.groups[0]
    put_trials(world.store, group)
    cell = group.final_cells(world.store.get)[0]
    world.store.put(record_of(cell, {}, status="oom", reason="the process was killed."))
    world.sync()
    failed = world.run("dense digits seed 0")
    assert failed.info.status == "FAILED"
    assert failed.data.tags["moebench.status"] == "oom"
    assert failed.data.tags["moebench.reason"] == "the process was killed."
    assert world.run("dense digits").info.status == "FAILED"
    assert "seed 0: oom" in world.run("dense digits").data.tags["moebench.reason"]

    put_finals(world.store, group)
    assert world.needs_sync()
    world.sync()
    assert world.run("dense digits seed 0").info.status == "FINISHED"
    assert world.run("dense digits seed 0").data.tags.get("moebench.reason", "") == ""
    assert world.run("dense digits").info.status == "FINISHED"
    assert world.run("dense digits").data.tags["moebench.reason"] == ""


def test_a_study_that_goes_on_stays_one_run(world):
    group = world.plan.groups[1]
    put_trials(world.store, group)
    world.sync()
    half = world.run("soft_moe digits")
    assert half.info.status == "KILLED"
    assert "test_accuracy" not in half.data.metrics
    put_finals(world.store, group)
    put_latency(world.store, world.plan)
    world.sync()
    whole = world.run("soft_moe digits")
    assert whole.info.run_id == half.info.run_id
    assert whole.info.status == "FINISHED"
    assert whole.data.metrics["test_accuracy"] == pytest.approx(0.85)


def test_a_diverged_seed_counts_with_the_floor_and_has_no_infinite_numbers(world):
    group = world.plan.groups[0]
    put_trials(world.store, group)
    bad = put_finals(world.store, group)[0]
    world.store.put(bad.model_copy(update={"status": "diverged", "scores": {}}))
    arrays = sidecar()
    arrays["loss_S"][150:200], arrays["loss_S"][200:] = np.inf, np.nan
    world.store.put_arrays(bad.identity, arrays)
    world.sync()
    run = world.run("dense digits seed 0")
    assert (run.info.status, run.data.tags["moebench.status"]) == ("FINISHED", "diverged")
    loss = world.client.get_metric_history(run.info.run_id, "train_loss_nats")
    assert max(point.step for point in loss) == 150
    assert max(point.value for point in loss) < 250, "an infinity became a number"
    study = world.run("dense digits").data.metrics
    assert study["test_accuracy"] == pytest.approx((0.1 + 0.9) / 2)
    assert study["finals_done"] == 1


def test_a_run_that_was_cut_short_is_written_again(world):
    put_all(world.store, world.plan)
    world.sync()
    cut = world.run("dense digits trial 0").info.run_id
    world.client.delete_tag(cut, "moebench.version")
    assert world.sync() == 1
    assert world.run("dense digits trial 0").info.run_id != cut


def test_runs_follow_a_study_that_has_to_be_made_anew(world):
    group = world.plan.groups[0]
    put_trials(world.store, group, (0.9, 0.95))
    put_finals(world.store, group)
    world.sync()
    old = world.run("dense digits").info.run_id
    put_trials(world.store, group, (0.95, 0.9))  # another winner: parameters in MLflow cannot be changed
    put_finals(world.store, group)
    world.sync()
    study = world.run("dense digits")
    assert study.info.run_id != old
    assert study.data.params["winner"] == "trial 0"
    assert len(world.runs()) == 5, "final runs of the old winner are still there"
    for name in ("trial 0", "trial 1", "seed 0", "seed 1"):
        assert world.run(f"dense digits {name}").data.tags["mlflow.parentRunId"] == study.info.run_id


def test_runs_below_a_study_that_a_person_deleted_find_the_new_one(world):
    put_trials(world.store, world.plan.groups[0])
    world.sync()
    world.client.delete_run(world.run("dense digits").info.run_id)
    assert world.sync() == 3
    study = world.run("dense digits").info.run_id
    assert world.run("dense digits trial 1").data.tags["mlflow.parentRunId"] == study


def test_budgets_of_a_ladder_are_studies_of_their_own(tmp_path):
    world = World(tmp_path / "results", make_plan(rows=["dense"], budgets=[1000, 4000]))
    put_all(world.store, world.plan)
    world.sync()
    names = {run.info.run_name for run in world.runs()}
    assert {
        "dense digits 1,000",
        "dense digits 4,000",
        "latency digits 4,000",
        "dense digits 4,000 seed 1",
    } <= names


def test_a_changed_board_replaces_the_note_and_a_long_one_fits(world):
    put_trials(world.store, world.plan.groups[0])
    put_board(world.results / "tiny")
    world.sync()
    first = world.run("board").info.run_id
    put_board(world.results / "tiny", markdown="| a row |\n" * 1000)
    assert world.needs_sync()
    assert world.sync() == 1
    note = world.experiment().tags["mlflow.note.content"]
    assert len(note) <= 5000
    assert note.endswith("| a row |\n…"), "a row was cut in two"
    assert world.run("board").info.run_id == first
    assert world.text(world.run("board"), "board.md") == "| a row |\n" * 1000


def test_a_board_of_another_protocol_is_not_taken(world):
    put_trials(world.store, world.plan.groups[0])
    put_board(world.results / "tiny", protocol="1 (seeds=8)")
    world.sync()
    assert "mlflow.note.content" not in world.experiment().tags


@pytest.mark.filterwarnings("ignore:Exception ignored in. <_io.FileIO:pytest.PytestUnraisableExceptionWarning")
def test_a_damaged_sidecar_costs_the_curves_not_the_run(world):
    put_trials(world.store, world.plan.groups[0])
    cut, changed = (world.store.sidecar_path(r.identity) for r in put_finals(world.store, world.plan.groups[0]))
    cut.write_bytes(cut.read_bytes()[:200])
    changed.write_bytes(changed.read_bytes().replace(changed.read_bytes()[100:140], bytes(40)))
    world.sync()
    for name in ("seed 0", "seed 1"):
        metrics = world.run(f"dense digits {name}").data.metrics
        assert "test_accuracy" in metrics
        assert "train_loss_nats" not in metrics


def test_one_run_that_mlflow_refuses_does_not_cost_the_others(world, monkeypatch):
    put_all(world.store, world.plan)
    trial = world.plan.groups[0].trial_cells[0]
    world.store.put(record_of(trial, {"validation_accuracy": 0.1, "validation_loss_nats": 1.0, "refused": 1.0}))
    takes = world.client.log_batch

    def log_batch(run_id, metrics=(), **more):
        if any(metric.key == "refused" for metric in metrics):
            raise MlflowException("I do not take 'refused'")
        return takes(run_id, metrics=metrics, **more)

    monkeypatch.setattr(world.client, "log_batch", log_batch)
    for _ in range(2):  # the second time the run is found half written, and is not taken for whole
        with pytest.raises(ResultsError, match=r"MLflow could not be written \(.*'refused'.*run `moebench sync` later"):
            world.sync()
        assert len(world.runs()) == 11
        assert world.run("soft_moe digits").info.status == "FINISHED"
        assert world.needs_sync()


def test_a_deleted_experiment_comes_back(world):
    put_trials(world.store, world.plan.groups[0])
    world.sync()
    world.client.delete_experiment(world.experiment().experiment_id)
    put_finals(world.store, world.plan.groups[0])
    assert world.sync() == 3
    assert world.experiment().lifecycle_stage == "active"


def test_nothing_to_write_is_told_without_importing_mlflow(full):
    code = (
        "import sys, json; from pathlib import Path; from moebench.plans.plan import Plan\n"
        "from moebench.records import Store\n"
        "from moebench.mlflow_store.write import needs_sync; import moebench.mlflow_store.follower\n"
        "results = Path(sys.argv[1]); plan = Plan.from_json(json.load(sys.stdin))\n"
        "print(needs_sync(plan, Store(results)))\n"
        "print(sorted({'mlflow', 'torch', 'sqlalchemy'} & set(sys.modules)))\n"
    )
    plan = json.dumps(full.plan.to_json())
    done = subprocess.run(
        [sys.executable, "-c", code, str(full.results)],
        input=plan,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("\n")[:2] == ["False", "[]"]
