"""``moebench compare A B`` as a person meets it: directories, exit status, one sentence for a mistake."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from boards import Bench, hand_plan, small_board
from comparisons import BEFORE, LOSS, benches, publish, shifted
from moebench import load_board
from moebench.board import Reason
from moebench.cli.main import main
from moebench.plans.history import ran_plan, remember_plan
from moebench.plans.plan import Plan
from moebench.publish import compare_directories
from tiny import run_tiny, write_plugin, write_suite

Command = Callable[..., tuple[object, str, str]]

HEAVY = """\
import sys
from moebench.cli.main import main
try:
    main()
finally:
    print(sorted({"torch", "mlflow", "optuna", "sklearn", "timm"} & set(sys.modules)), file=sys.stderr)
"""


@pytest.fixture
def moebench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Exit status, output and errors of the command."""

    def run(*words: str | Path) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["moebench", "compare", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, *capsys.readouterr()

    return run


def as_it_ran(bench: Bench, name: str = "tiny") -> Path:
    """The store as a run leaves it: the request and the plan beside the records."""
    folder = bench.store.root / name
    folder.mkdir(exist_ok=True)
    (folder / "latest.json").write_text("{}")
    remember_plan(bench.plan, bench.store.root)
    return bench.store.root


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A, a results directory, and B, a published one, in which soft_moe lost on every seed."""
    root = tmp_path_factory.mktemp("world")
    a, b = benches(root, hand_plan(variants=["soft_moe"], seeds=5))
    a.fill("soft_moe", BEFORE)
    b.fill("soft_moe", shifted(*LOSS))
    return as_it_ran(a), publish(b, root / "published" / "tiny" / "cpu")


def test_something_worse_is_exit_status_one(world: tuple[Path, Path]) -> None:
    words = [sys.executable, "-c", HEAVY, "compare", *map(str, world)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "[]\n"), "neither torch nor mlflow is imported"
    assert done.stdout.startswith("tiny: 1 worse\n")


def test_something_better_or_the_same_is_exit_status_zero(world: tuple[Path, Path], moebench: Command) -> None:
    for words, begins in ((reversed(world), "tiny: 1 better\n"), ((world[0], world[0]), "tiny: 1 identical\n")):
        status, out, _ = moebench(*words)
        assert status == 0
        assert out.startswith(begins)


@pytest.mark.parametrize(("form", "begins"), [("md", "### tiny: 1 worse\n"), ("json", '{\n "suite": "tiny"')])
def test_every_format_has_the_same_exit_status(
    world: tuple[Path, Path], moebench: Command, form: str, begins: str
) -> None:
    status, out, _ = moebench(*world, "--format", form)
    assert status == 1
    assert out.startswith(begins)


def test_what_is_missing_is_no_failure(tmp_path: Path, world: tuple[Path, Path], moebench: Command) -> None:
    b = Bench(tmp_path, hand_plan(variants=["dense"], seeds=5))
    b.fill("dense", BEFORE)
    status, out, _ = moebench(world[0], publish(b, tmp_path / "p"), "--format", "json")
    assert status == 0
    assert json.loads(out)["counts"] == {"missing": 1, "new": 1}


def test_wrong_use_is_one_sentence_and_exit_status_two(
    world: tuple[Path, Path], tmp_path: Path, moebench: Command
) -> None:
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "records.jsonl").write_text((world[1] / "records.jsonl").read_text()[:999])
    for words, says in (
        ((world[0], tmp_path / "none"), "there is no directory"),
        ((*world, "--suite", "quick"), "unknown suite 'quick' in '"),
        ((world[0], damaged), "is damaged at line 1"),
        ((world[0],), "Missing argument 'B'"),
    ):
        status, out, sentence = moebench(*words)
        assert (status, out) == (2, ""), words
        assert sentence.startswith("moebench: ")
        assert says in sentence


def test_the_suite_is_that_of_a(tmp_path: Path) -> None:
    """B ran another suite last, and has that of A too."""
    bench = small_board(tmp_path)
    there = as_it_ran(bench)
    (there / "later").mkdir()
    (there / "later" / "latest.json").write_text("{}")
    published = publish(bench, tmp_path / "p")
    assert compare_directories(published, there).counts == {"identical": 4}
    assert compare_directories(there, str(there), "tiny").suite == "tiny"


def test_a_layer_that_was_changed_in_place_is_compared_with_what_it_was(tmp_path: Path) -> None:
    """By today's code nothing of the earlier run would be found: A is read by the plan that it ran by."""
    suite = write_suite(tmp_path, steps=2)
    before, after = tmp_path / "before", tmp_path / "after"
    plugin = write_plugin(tmp_path, "mine", in_training="pass")
    run_tiny(suite, before, variants=(plugin,), trials=1)
    write_plugin(tmp_path, "mine", in_training="x_BTD = x_BTD * 0.5")
    run_tiny(suite, after, variants=(plugin,), trials=1)
    found = compare_directories(before, after)
    rows = {pair.row: pair for pair in found.pairs}
    assert rows["mine"].verdict in ("worse", "better", "undecided")
    assert "code" in rows["mine"].changed
    assert rows["dense"].verdict == "identical"
    plan: Plan | None = ran_plan(before)
    assert plan is not None
    assert load_board(suite, before).entry("mine").reason == Reason("not_run")
