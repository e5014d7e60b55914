"""Boards as files, from the command line, and from Python."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from boards import Bench, small_board
from moebench.board import write_board
from moebench.cli.leaderboard import command
from moebench.errors import ResultsError, UnknownNameError
from moebench.plans.cache import get_plan
from moebench.plans.history import remember
from moebench.protocol import PROTOCOL
from moebench.publish import load_board
from moebench.studies.plot import Plot, draw
from moebench.suites.request import ask

SUITE = """
title = "Dense alone"
budgets = [20_000]
seeds = 3
variants = ["dense"]
[[task]]
name = "digits"
[host]
name = "vit"
dim = 16
depth = 1
heads = 2
[training]
steps = 10
batch = 16
[tuning]
trials = 2
lr = { low = 1e-3, high = 1e-2, default = 3e-3 }
weight_decay = { low = 1e-3, high = 0.3, default = 0.05 }
"""

LIGHT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from boards import small_board
from moebench.board import write_board
from moebench.board import to_table
import moebench.board.files
root = Path(sys.argv[1])
board = small_board(root).board()
write_board(board, root / "pages")
print(to_table(board))
print(sorted({"torch", "mlflow", "optuna", "sklearn", "timm"} & set(sys.modules)))
"""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Results of a real plan: a user's own suite that has run, its records made by hand."""
    root = tmp_path_factory.mktemp("results")
    path = root / "alone.toml"
    path.write_text(SUITE)
    request = ask(str(path), device="cpu").requests[0]
    remember(request, root)
    bench = Bench(root, get_plan(request, root))
    bench.fill("dense", (0.95, 0.97, 0.96), specialization=None)
    return bench


def run(bench: Bench, *words: str) -> tuple[int, str, str]:
    """Exit status, standard output, standard error."""
    result = CliRunner().invoke(command, [*words, "--results", str(bench.store.root)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_the_files_are_written_once_and_again_only_when_something_changed(tmp_path: Path) -> None:
    bench = small_board(tmp_path)
    pages = tmp_path / "tiny"
    assert {path.name for path in write_board(bench.board(), pages)} == {
        *("board.json", "board.md", "board.html", "board.csv"),
        *("scatter-0.png", "batch1-0.png", "retention-0.png", "effort-0.png", "training-0.png"),
    }
    times = {path: path.stat().st_mtime_ns for path in pages.rglob("*")}
    assert write_board(bench.board(), pages) == []
    assert {path: path.stat().st_mtime_ns for path in pages.rglob("*")} == times
    cell = bench.group("dense").final_cells(bench.store.get)[0]
    bench.put(cell, "dense", status="error", reason="it broke.")
    written = {path.name for path in write_board(bench.board(), pages)}
    assert written >= {"board.json", "board.md", "board.html", "board.csv", "scatter-0.png"}
    left = {path.name for path in times} - {"batch1-0.png"}  # no session has timed what has a score now
    assert {path.name for path in pages.rglob("*")} == left


def test_a_board_costs_neither_torch_nor_mlflow(tmp_path: Path) -> None:
    words = [sys.executable, "-c", LIGHT, str(tmp_path), str(Path(__file__).parent / "support")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_command_prints_the_suite_that_ran_last(bench: Bench) -> None:
    code, out, err = run(bench)
    assert (code, err) == (0, "")
    assert out.startswith(
        f"alone  protocol {PROTOCOL}  digits (0.148 epochs)  20,000 parameters in the expert layers (total)  cpu"
    )
    assert "1     dense    0.960±0.025" in out


@pytest.mark.parametrize("form", ["json", "md", "html", "csv"])
def test_the_command_prints_what_the_files_hold(bench: Bench, form: str, tmp_path: Path) -> None:
    suite = str(bench.store.root / "alone.toml")
    write_board(load_board(suite, bench.store.root), tmp_path)
    code, out, _ = run(bench, suite, "--format", form)
    assert code == 0
    assert out == (tmp_path / f"board.{form}").read_text(encoding="utf-8")


def test_other_seeds_are_another_protocol_and_do_not_borrow_the_runs(bench: Bench) -> None:
    value = json.loads(run(bench, "alone", "--seeds", "4", "--format", "json")[1])
    assert value["protocol"] == f"{PROTOCOL} (seeds=4)"
    assert value["entries"][0]["rank"] is None
    assert "final 3" in value["entries"][0]["reason"]
    assert value["entries"][0]["seeds"] == 3


def test_a_damaged_record_is_one_sentence_and_one_missing_run(bench: Bench) -> None:
    cell = bench.group("dense").final_cells(bench.store.get)[1]
    path = bench.store.record_path(cell.identity)
    whole = path.read_text()
    try:
        path.write_text(whole[: len(whole) // 2])
        code, out, err = run(bench)
        assert code == 0
        assert "dense  incomplete, 1 of 5 runs have no result: not run yet: final 1." in out
        aside = path.with_suffix(".damaged")
        assert err == (
            f"moebench: 1 damaged record was set aside ('{aside}'); the next run of the suite makes it anew.\n"
        )
    finally:
        path.write_text(whole)


def test_reading_a_board_imports_no_torch() -> None:
    code = "import sys; from moebench import load_board; print(load_board.__module__, 'torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert said == "moebench.publish.sources False\n"


def test_a_misspelt_suite_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown suite 'quik'; did you mean 'quick'"):
        load_board("quik", tmp_path)


def test_an_empty_results_directory_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"no suite has run into .* yet; run one with `moebench run quick`"):
        load_board(results=tmp_path)


def test_an_unknown_format_is_refused(bench: Bench) -> None:
    code, _, err = run(bench, "--format", "pdf")
    assert code == 2
    assert "'pdf' is not one of" in err


def test_without_matplotlib_pages_have_no_drawings_and_get_them_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    board, pages = small_board(tmp_path).board(), tmp_path / "pages"
    with monkeypatch.context() as lacking:
        lacking.setitem(sys.modules, "matplotlib", None)
        written = [path.name for path in write_board(board, pages)]
        plot = Plot(name="one", part="a", title="One", reading="", draw=lambda evidence: pytest.fail("it was drawn"))
        evidence = SimpleNamespace(parts=[SimpleNamespace(name="a")])
        assert draw([plot], evidence) == ([], []), "nor has the page of a study"
    assert written == ["board.json", "board.csv", "board.md", "board.html"], "numbers first"
    assert "<figure" not in (pages / "board.html").read_text()
    written = [path.name for path in write_board(board, pages)]
    assert written[0] == "board.html"
    assert "scatter-0.png" in written
    assert "<figure" in (pages / "board.html").read_text()
