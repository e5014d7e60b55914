"""The command line as a person meets it: what it prints, how fast, and its exit status."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from moebench.cli.main import COMMANDS, _say, main
from moebench.protocol import PROTOCOL
from tiny import write_plugin, write_suite


def moebench(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    code = "import sys; from moebench.cli.main import main; sys.argv[0] = 'moebench'; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=cwd, timeout=300, check=False
    )


class Here:
    """Runs the command in this process, which has everything imported: mistakes of all kinds, each in a moment."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def __call__(self, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        self.monkeypatch.chdir(cwd)
        self.monkeypatch.setattr(sys, "argv", ["moebench", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        return subprocess.CompletedProcess(words, int(ended.value.code or 0), *self.capsys.readouterr())


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """The command in this process."""
    return Here(monkeypatch, capsys)


def only_sentence(result: subprocess.CompletedProcess[str]) -> str:
    """The one line that a mistake prints; exit status 2, nothing on standard output, no traceback."""
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("moebench: ")
    return lines[0]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["rum", "quick"], "unknown command 'rum'; did you mean 'run'?"),
        (["run", "quik"], "unknown suite 'quik'; did you mean 'quick'?"),
        (["run", "quick", "--variant", "sfot"], "unknown variant 'sfot'"),
        (["run", "quick", "--variant", "sfot_moe"], "did you mean 'soft_moe'?"),
        (["run", "quick", "--variant", "nothing.py:Mine"], "there is no file 'nothing.py'"),
        (["run", "quick", "--device", "cuda:9"], "there is no device 'cuda:9'"),
        (["run", "quick", "--device", "tpu"], "use cpu, cuda or cuda:N"),
        (["run", "quick", "--seeds", "0"], "0 is not in the range x>=1"),
        (["run", "quick", "--seeds", "many"], "'many' is not a valid integer"),
        (["run", "quick", "--backend", "loup"], "unknown backend 'loup'; did you mean 'loop'?"),
        (["run", "quick", "--results", "/proc/nothing"], "cannot write to the results directory '/proc/nothing'"),
        (["run", "missing.toml"], "there is no suite file 'missing.toml'"),
        (["leaderboard"], "no suite has run into 'results' yet"),
        (["compare", "here", "there"], "there is no directory 'here'"),
        (["check", "sfot_moe"], "unknown variant 'sfot_moe'; did you mean 'soft_moe'?"),
        (["list", "wariants"], "unknown kind of thing to list 'wariants'; did you mean 'variants'?"),
    ],
)
def test_a_mistake_is_one_sentence(words: list[str], expected: str, tmp_path: Path, here: Here) -> None:
    assert expected in only_sentence(here(*words, cwd=tmp_path))


def test_a_mistake_is_one_sentence_of_a_process_of_its_own(tmp_path: Path) -> None:
    assert "did you mean 'soft_moe'?" in only_sentence(moebench("run", "quick", "--variant", "sfot_moe", cwd=tmp_path))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"soft_moe"]', '"soft_moe", "sfot"]', "unknown variant 'sfot'"),
        ('name = "digits"', 'name = "digit"', "unknown task 'digit'; did you mean 'digits'?"),
        ("experts = [8]", "expets = [8]", "unknown setting 'expets'"),
        ("steps = 12", 'steps = "many"', "training.steps"),
        ("steps = 12", "stepz = 12", "did you mean 'steps'?"),
        ("depth = 1", "dept = 1", "did you mean 'depth'?"),
        ('name = "vit"', 'name = "vti"', "unknown host 'vti'; did you mean 'vit'?"),
        ("budgets = [20_000]", "budgets = [20]", "nearest"),
        ("[training]", "[training", "is not valid TOML"),
    ],
)
def test_a_mistake_in_a_suite_is_one_sentence(old: str, new: str, expected: str, tmp_path: Path, here: Here) -> None:
    path = Path(write_suite(tmp_path))
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    result = here("run", str(path), "--no-mlflow", cwd=tmp_path)
    if old.startswith("budgets"):  # every row gets its reason, and nothing is ranked
        assert result.returncode == 1
        assert expected in result.stderr
    else:
        assert expected in only_sentence(result)


def test_missing_data_say_where_to_put_which_file(tmp_path: Path, here: Here) -> None:
    suite = write_suite(tmp_path, task="cifar10", patch=8)
    sentence = only_sentence(here("run", suite, "--data", str(tmp_path / "data"), cwd=tmp_path))
    assert str(tmp_path / "data") in sentence


def test_run_prints_a_board_and_exits_by_what_is_done(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, steps=2)
    good = moebench("run", suite, "--no-mlflow", "--trials", "1", "--seeds", "2", cwd=tmp_path)
    assert good.returncode == 0, good.stderr
    assert "soft_moe" in good.stdout
    assert f"protocol {PROTOCOL} (trials=1)" in good.stdout
    board = json.loads(moebench("leaderboard", suite, "--format", "json", cwd=tmp_path).stdout)
    assert board["suite"] == "tiny"
    assert {entry["variant"] for entry in board["entries"]} == {"dense", "soft_moe"}
    words = ["run", suite, "--no-mlflow", "--trials", "1", "--seeds", "2"]
    again = f"import sys\nfrom moebench.cli.main import cli\ncli.main({words!r}, standalone_mode=False)\n"
    code = f"{again}assert 'torch' not in sys.modules, 'nothing is left to run'"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=tmp_path)

    plugin = write_plugin(tmp_path, "dies", in_training="raise RuntimeError('my layer broke')")
    bad = moebench(
        "run", suite, "--no-mlflow", "--trials", "1", "--seeds", "2", "--variant", plugin, "--quiet", cwd=tmp_path
    )
    assert bad.returncode == 1
    assert "my layer broke" in bad.stderr
    assert "Traceback" not in bad.stderr


def test_plan_says_what_is_cached_and_what_is_missing(tmp_path: Path, here: Here) -> None:
    suite = write_suite(tmp_path, steps=2)
    before = here("plan", suite, cwd=tmp_path).stdout
    assert "0 cached, 9 to run" in before
    assert "2 variants + 0 references: " in before
    assert "1 of 2 rows: " in here("plan", suite, "--variant", "dense", cwd=tmp_path).stdout
    here("run", suite, "--no-mlflow", "--variant", "dense", cwd=tmp_path)
    after = here("plan", suite, cwd=tmp_path).stdout
    assert "4 cached, 5 to run" in after


def test_help_names_every_command() -> None:
    text = moebench("--help").stdout
    assert all(f"\n  {name} " in text for name in COMMANDS)
    for name in COMMANDS:
        assert moebench(name, "--help").returncode == 0


@pytest.mark.parametrize("words", [["--help"], ["list"], ["run", "--help"], ["compare", "--help"]])
def test_light_commands_import_neither_torch_nor_mlflow(words: list[str]) -> None:
    code = f"""
import sys
from moebench.cli.main import cli
cli.main({words!r}, standalone_mode=False)
heavy = [name for name in ("torch", "mlflow", "timm", "optuna", "sklearn") if name in sys.modules]
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_an_unknown_command_imports_what_it_says_and_no_more() -> None:
    code = """
import sys
from moebench.cli.main import main
sys.argv = ["moebench", "nosuch"]
try:
    main()
except SystemExit:
    print(*(name for name in sys.modules if name.startswith("moebench.")))
"""
    modules = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert sorted(modules) == ["moebench.cli", "moebench.cli.main", "moebench.errors", "moebench.text"]


def test_help_is_fast() -> None:
    """Half a second on a quiet machine; the processor's time is what a busy one leaves comparable."""
    moebench("--help")
    start = time.perf_counter()
    moebench("--help")
    assert time.perf_counter() - start < 2


def test_no_name_in_a_sentence_moves_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    _say("unknown suite '\x1b[2J\x1b[H'.")
    assert capsys.readouterr().err == "moebench: unknown suite ' [2J [H'.\n"
