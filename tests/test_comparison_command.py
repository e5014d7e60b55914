"""``moebench compare A B`` as a person meets it: directories, exit status, one sentence for a mistake."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from boards import Bench, hand_plan, small_board
from comparisons import BEFORE, LOSS, benches, publish, shifted
from moebench import load_board
from moebench.board import Reason
from moebench.errors import ResultsError
from moebench.plans.history import RAN, ran_plan, remember_plan
from moebench.plans.plan import Plan
from moebench.publish import compare_directories
from moebench.publish.sources import open_ran
from tiny import run_tiny, write_plugin, write_suite


def moebench(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own; the last line of its errors says which heavy packages it imported."""
    code = (
        "import sys\nfrom moebench.cli.main import main\nsys.argv[0] = 'moebench'\n"
        "try:\n    main()\nfinally:\n"
        "    print(sorted({'torch', 'mlflow', 'optuna', 'sklearn', 'timm'} & set(sys.modules)), file=sys.stderr)"
    )
    return subprocess.run(
        [sys.executable, "-c", code, "compare", *map(str, words)], capture_output=True, text=True, check=False
    )


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
    done = moebench(*world)
    assert (done.returncode, done.stderr) == (1, "[]\n"), "neither torch nor mlflow is imported"
    assert done.stdout.startswith("tiny: 1 worse\n")


def test_something_better_or_the_same_is_exit_status_zero(world: tuple[Path, Path]) -> None:
    better, same = moebench(*reversed(world)), moebench(world[0], world[0])
    assert (better.returncode, same.returncode) == (0, 0)
    assert better.stdout.startswith("tiny: 1 better\n")
    assert same.stdout.startswith("tiny: 1 identical\n")


@pytest.mark.parametrize(("form", "begins"), [("md", "### tiny: 1 worse\n"), ("json", '{\n "suite": "tiny"')])
def test_every_format_has_the_same_exit_status(world: tuple[Path, Path], form: str, begins: str) -> None:
    done = moebench(*world, "--format", form)
    assert (done.returncode, done.stderr) == (1, "[]\n")
    assert done.stdout.startswith(begins)


def test_what_is_missing_is_no_failure(tmp_path: Path, world: tuple[Path, Path]) -> None:
    b = Bench(tmp_path, hand_plan(variants=["dense"], seeds=5))
    b.fill("dense", BEFORE)
    done = moebench(world[0], publish(b, tmp_path / "p"), "--format", "json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["counts"] == {"missing": 1, "new": 1}


def test_wrong_use_is_one_sentence_and_exit_status_two(world: tuple[Path, Path], tmp_path: Path) -> None:
    empty = publish(Bench(tmp_path / "e"), tmp_path / "e" / "p")
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "records.jsonl").write_text((world[1] / "records.jsonl").read_text()[:999])
    for words, says in (
        ((world[0], tmp_path / "none"), "there is no directory"),
        ((world[0], tmp_path), "suite 'tiny' has not run into"),
        ((tmp_path, world[0]), "no suite has run into"),
        ((*world, "--suite", "quick"), "unknown suite 'quick' in '"),
        ((world[1], world[1], "--suite", "quick"), "holds suite 'tiny', not 'quick'"),
        ((empty, empty), "has a row with a result on every seed and task"),
        ((world[0], damaged), "is damaged at line 1"),
        ((world[0],), "Missing argument 'B'"),
        ((*world, "--format", "html"), "'html' is not one of"),
    ):
        done = moebench(*words)
        assert (done.returncode, done.stdout) == (2, ""), words
        sentence, imported = done.stderr.splitlines()
        assert sentence.startswith("moebench: ")
        assert says in sentence
        assert imported == "[]"


def test_the_suite_is_that_of_a(tmp_path: Path) -> None:
    """B ran another suite last, and has that of A too."""
    bench = small_board(tmp_path)
    there = as_it_ran(bench)
    (there / "later").mkdir()
    (there / "later" / "latest.json").write_text("{}")
    published = publish(bench, tmp_path / "p")
    assert compare_directories(published, there).counts == {"identical": 4}
    assert compare_directories(there, str(there), "tiny").suite == "tiny"


def test_a_plan_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    there = as_it_ran(small_board(tmp_path))
    (there / "tiny" / RAN).write_text("{}")
    with pytest.raises(ResultsError, match=r"ran\.json' cannot be read; run the suite again"):
        open_ran(there)


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
