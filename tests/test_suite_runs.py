"""Whole runs of a small suite: real training, real processes, real records."""

from __future__ import annotations

import gzip
import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from hand_made import accuracy, answer
from moebench import load_board
from moebench.experiment import ExperimentResult
from moebench.plugins.find import find_variant
from moebench.plugins.identity import code_digest
from moebench.records import Record, Store
from tiny import run_tiny, write_plugin, write_suite


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A suite that has run with two workers, and its results."""
    folder = tmp_path_factory.mktemp("finished")
    suite = write_suite(folder)
    session = run_tiny(suite, folder / "results", workers=2)
    assert session.unfinished == ()
    return suite, folder / "results"


def scores(results: Path) -> dict[str, dict[str, float | None]]:
    """Identity -> scores of everything but latency."""
    return {r.identity: r.scores for r in Store(results).records() if r.cell["kind"] != "latency"}


def of_kind(results: Path, kind: str) -> list[Record]:
    return [record for record in Store(results).records() if record.cell["kind"] == kind]


def test_every_planned_run_has_a_record(finished: tuple[str, Path]) -> None:
    _, results = finished
    assert [len(of_kind(results, kind)) for kind in ("trial", "final", "latency")] == [4, 4, 1]
    for record in Store(results).records():
        assert record.status == "done"
        assert (record.provenance["backend"], record.provenance["backend_switches"]) == ("auto", {})
        if record.cell["kind"] != "latency":
            assert record.provenance["code"] == code_digest(find_variant(record.cell["variant"])), "not its revision"


def test_what_training_costs_is_counted(finished: tuple[str, Path]) -> None:
    _, results = finished
    for record in [*of_kind(results, "trial"), *of_kind(results, "final")]:
        counts, cell = record.counts, record.cell
        assert counts["model_flops_per_input"] > counts["flops_per_input"] > 0
        assert counts["training_flops"] == 3 * counts["model_flops_per_input"] * cell["steps"] * cell["batch"]
    suite, _ = finished
    entry = load_board(suite, results=results).entry("dense")
    assert entry.training is not None
    assert entry.counts is not None
    assert entry.training.flops == 3 * entry.counts.model_flops_per_input * 12 * 32
    assert entry.training.seconds > 0


def test_one_worker_gives_the_digits_of_two(finished: tuple[str, Path], tmp_path: Path) -> None:
    suite, results = finished
    run_tiny(suite, tmp_path / "again", workers=1)
    assert scores(tmp_path / "again") == scores(results)


def test_a_second_run_trains_nothing_and_writes_the_same_pages(finished: tuple[str, Path]) -> None:
    suite, results = finished
    pages = {path.name: path.read_bytes() for path in (results / "tiny").glob("board.*")}
    before = {path: path.stat().st_mtime_ns for path in (results / "records").rglob("*.json")}
    run_tiny(suite, results)
    assert {path: path.stat().st_mtime_ns for path in (results / "records").rglob("*.json")} == before
    assert {path.name: path.read_bytes() for path in (results / "tiny").glob("board.*")} == pages
    assert len(pages) == 4


def test_trials_never_carry_a_test_score(finished: tuple[str, Path]) -> None:
    for record in of_kind(finished[1], "trial"):
        assert not [name for name in record.scores if not name.startswith("validation_")]


def test_seeds_vary(finished: tuple[str, Path]) -> None:
    finals = [record for record in of_kind(finished[1], "final") if record.cell["variant"] == "dense"]
    losses = {record.scores["test_loss_nats"] for record in finals}
    assert len(finals) == len(losses) == 2


def test_saved_weights_are_those_that_were_scored(finished: tuple[str, Path]) -> None:
    from moebench.records import Cell
    from moebench.runner.job import Job
    from moebench.runner.model import build
    from moebench.runner.weights import load_weights
    from moebench.tasks import get_task

    results = finished[1]
    for record in of_kind(results, "final"):
        cell = Cell.from_json(record.cell)
        job = Job(cell=cell, row=cell.variant, spec=cell.variant, results=results, device="cpu")
        model = build(job, torch.device("cpu")).model
        assert load_weights(model, Store(results), cell.identity, torch.device("cpu"))
        test = get_task("digits").load("test", None)
        assert accuracy(answer(model, test).logits_NC, test.targets["class"]) == record.scores["test_accuracy"]


def test_latency_is_measured_in_pairs_of_rounds(finished: tuple[str, Path]) -> None:
    (record,) = of_kind(finished[1], "latency")
    finalists = record.details["finalists"].values()
    assert {finalist["row"] for finalist in finalists} == {"dense", "soft_moe"}
    for finalist in finalists:
        assert finalist["weights"] == "final"
        for name in ("forward_ms", "forward_batch1_ms", "train_step_ms", "layers_ms"):
            assert len(finalist[name]) == 6
            assert min(finalist[name]) > 0
        assert finalist["resident_memory_mib"] is None or finalist["resident_memory_mib"] > 0


def test_a_model_without_its_trained_weights_is_not_timed(tmp_path: Path) -> None:
    results = tmp_path / "results"
    run_tiny(write_suite(tmp_path), results, variants=("dense",), save_weights=False)
    (record,) = of_kind(results, "latency")
    (finalist,) = record.details["finalists"].values()
    assert (record.status, finalist["weights"]) == ("done", "none")
    assert "forward_ms" not in finalist


def test_records_are_small_and_meet_the_budget(finished: tuple[str, Path]) -> None:
    for path in (finished[1] / "records").rglob("*.json"):
        assert path.stat().st_size < 8192
        record = json.loads(path.read_text())
        if record["cell"]["kind"] != "latency":
            assert abs(record["counts"]["total_params"] / 20_000 - 1) <= 0.01


def test_a_damaged_record_is_set_aside_and_run_again(finished: tuple[str, Path], tmp_path: Path) -> None:
    suite = write_suite(tmp_path)
    results = tmp_path / "results"
    run_tiny(suite, results, variants=("dense",))
    before = scores(results)
    victim = Store(results).record_path(sorted(before)[0])
    victim.write_text(victim.read_text()[:200])
    session = run_tiny(suite, results, variants=("dense",))
    assert victim.with_suffix(".damaged").name in " ".join(session.warnings)
    assert scores(results) == before


DYING = {
    "exits": ("os._exit(7)", "error", "exit code 7"),
    "crashes": ("os.kill(os.getpid(), 11)", "error", "signal 11"),
    "raises": ("raise RuntimeError('my layer broke')", "error", "RuntimeError: my layer broke"),
    "grows": ("raise MemoryError()", "oom", "micro-batch"),
    "hangs": ("time.sleep(1000)", "timeout", "longer than 20 seconds"),
}


@pytest.fixture(scope="module")
def misbehaved(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, ExperimentResult]:
    """A suite with plug-ins that die in training, diverge, cannot be built or cannot be imported, and its results."""
    folder = tmp_path_factory.mktemp("misbehaved")
    suite = write_suite(folder, steps=2)
    plugins = [write_plugin(folder, name, in_training=does) for name, (does, *_) in DYING.items()]
    plugins.append(write_plugin(folder, "diverges", in_training="return self.b(self.a(x_BTD)) * float('nan')"))
    plugins.append(write_plugin(folder, "unbuildable"))
    path = folder / "unbuildable.py"
    path.write_text(path.read_text().replace("return Plain(shape, size)", "raise RuntimeError('no kernel')"))
    (folder / "broken.py").write_text("import a_module_that_is_not_there\n\nclass Mine:\n    name = 'broken'\n")
    plugins.append(f"{folder}/broken.py:Mine")
    session = run_tiny(suite, folder / "results", variants=tuple(plugins), trials=1, seeds=1, timeout=20)
    return suite, folder / "results", session


def test_a_plugin_that_dies_ends_its_own_row_only(misbehaved: tuple[str, Path, ExperimentResult]) -> None:
    _, _, session = misbehaved
    unfinished = {label: (status, reason) for label, status, reason in session.unfinished}
    entries = {entry.variant: entry for entry in session.board.entries}
    assert len(unfinished) == len(DYING) + 2
    assert entries["dense"].rank is not None
    for name, (_, status, words) in DYING.items():
        found, reason = unfinished[f"{name} digits trial 0"]
        assert (found, words in reason) == (status, True), reason
        assert entries[name].rank is None
        assert status in entries[name].reason.sentence


def test_a_plugin_that_fails_to_import_is_a_row_with_its_reason(misbehaved: tuple[str, Path, ExperimentResult]) -> None:
    _, _, session = misbehaved
    entries = {entry.variant: entry for entry in session.board.entries}
    assert "a_module_that_is_not_there" in entries["broken"].reason.sentence
    assert "broken" in [label for label, *_ in session.unfinished]


def test_a_build_that_raises_is_an_error_and_no_row_of_later_boards(
    misbehaved: tuple[str, Path, ExperimentResult],
) -> None:
    suite, results, session = misbehaved
    ((status, reason),) = [(s, r) for label, s, r in session.unfinished if label == "unbuildable digits"]
    assert status == "error", "it meets no budget only because it cannot be built"
    assert "no kernel" in reason
    assert "unbuildable" in {entry.variant for entry in session.board.entries}, "this run says why"
    assert "unbuildable" not in {entry.variant for entry in load_board(suite, results).entries}


def test_a_diverging_run_is_settled_and_ranked_at_the_floor(misbehaved: tuple[str, Path, ExperimentResult]) -> None:
    entries = {entry.variant: entry for entry in misbehaved[2].board.entries}
    assert entries["diverges"].representation is not None
    assert entries["diverges"].representation.value == pytest.approx(0.1)


def test_changed_code_is_run_again_and_a_comment_is_not(tmp_path: Path) -> None:
    suite, results = write_suite(tmp_path, steps=2), tmp_path / "results"
    plugin = write_plugin(tmp_path, "mine")
    run_tiny(suite, results, variants=(plugin,), trials=1, seeds=1)
    first = scores(results)
    path = tmp_path / "mine.py"
    path.write_text(path.read_text() + "\n# a comment\n")
    run_tiny(suite, results, variants=(plugin,), trials=1, seeds=1)
    assert scores(results) == first
    path.write_text(path.read_text().replace(".relu()", ".tanh()"))
    run_tiny(suite, results, variants=(plugin,), trials=1, seeds=1)
    assert len(scores(results)) == len(first) + 2
    assert scores(results).items() >= first.items()


def write_idx(folder: Path, test_labels: np.ndarray) -> None:
    """A small data set in Fashion-MNIST's format; training data are always the same."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for part, count in (("train", 200), ("t10k", 60)):
        labels = np.arange(count, dtype=np.uint8) % 10 if part == "train" else test_labels
        images = rng.integers(0, 60, (count, 28, 28), dtype=np.uint8)
        for image, label in zip(images, np.arange(count) % 10, strict=True):
            image[2 * label : 2 * label + 3] += 180
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            (folder / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(head + array.tobytes()))


def test_test_labels_reach_neither_the_trials_nor_the_choice_of_the_winner(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, task="fashion_mnist", patch=14, steps=12)
    outcomes = []
    for name, labels in (("true", np.arange(60) % 10), ("shifted", (np.arange(60) + 3) % 10)):
        write_idx(tmp_path / name, labels.astype(np.uint8))
        run_tiny(suite, tmp_path / f"r{name}", variants=("dense",), data=tmp_path / name)
        records = list(Store(tmp_path / f"r{name}").records())
        trials = [(r.cell["seed"], r.scores, r.cell["settings"]) for r in records if r.cell["kind"] == "trial"]
        finals = [(r.cell["seed"], r.cell["settings"]) for r in records if r.cell["kind"] == "final"]
        tested = sorted(r.scores["test_accuracy"] or 0 for r in records if r.cell["kind"] == "final")
        outcomes.append((sorted(trials, key=str), sorted(finals, key=str), tested))
    assert outcomes[0][:2] == outcomes[1][:2]
    assert outcomes[0][2] != outcomes[1][2]


def test_a_worker_starts_with_everything_imported(tmp_path: Path) -> None:
    """A run that imported torch or timm itself would pay seconds for it, every time."""
    from moebench.processes import start

    log = tmp_path / "log"
    process = start(_print_modules, log=log)
    process.join()
    assert log.read_text().split() == ["True"] * 5


def _print_modules() -> None:
    import sys

    for name in ("torch", "torch._dynamo", "timm", "sklearn.datasets", "moebench.runner.run_cell"):
        print(name in sys.modules)
