"""Published boards that come with moebench: shown where a suite has not run, and reused beside a new layer."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from moebench import load_board
from moebench.cli.help import EXAMPLES
from moebench.cli.main import cli
from moebench.errors import ResultsError
from moebench.publish import brought, open_results, reuse
from moebench.records import Store

OLD = Path(__file__).parents[1] / "results/published/protocol-1/quick-all"


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A published board of quick-all, as a wheel brings it."""
    (device,) = OLD.iterdir()
    for name in ("records.jsonl", "submission.json"):
        (tmp_path / "published/quick-all" / device.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(device / name, tmp_path / "published/quick-all" / device.name / name)
    monkeypatch.setattr(brought, "ROOTS", (tmp_path / "published",))
    return tmp_path


def leaderboard(root, *words):
    return CliRunner().invoke(cli, ["leaderboard", *words, "--results", str(root / "r")], standalone_mode=False)


def test_a_suite_that_has_not_run_shows_its_published_board(root):
    done = leaderboard(root, "quick-all", "--format", "json")
    assert done.exception is None
    assert json.loads(done.stdout)["suite"] == "quick-all"
    assert "this is its published board" in done.stderr
    assert f"`moebench run quick-all --results {root}/r`" in done.stderr
    assert "--reuse published:quick-all" in done.stderr


def test_boards_that_the_first_page_names_are_there_before_anything_ran(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[1] / "README.md").read_text()
    doors = {*re.findall(r"`moebench (leaderboard [^`]+)`", page), EXAMPLES["leaderboard"].removeprefix("moebench ")}
    assert len(doors) > 1
    for words in doors:
        done = CliRunner().invoke(cli, words.split(), standalone_mode=False)
        assert done.exception is None, words
        assert ("Take " in done.stdout) == ("--max-latency-ratio" in words), words


def test_a_suite_without_one_is_an_error_as_before(root):
    said = leaderboard(root, "quick").exception
    assert said.code == "not-run-yet"
    assert str(said).endswith("run it with `moebench run quick` (moebench brings no published board of it yet).")
    assert leaderboard(root, "quick-all", "--seeds", "5").exception.code == "not-run-yet"
    with pytest.raises(ResultsError) as caught:
        load_board("published:quick")
    assert (caught.value.code, caught.value.facts["suite"]) == ("no-published-board", "quick")
    assert "those of this protocol: quick-all" in str(caught.value)


def test_it_is_named_wherever_a_published_directory_is(root):
    board = load_board("published:quick-all", results=root / "r")
    assert board == load_board(next(brought.brought_boards("quick-all")))
    assert open_results(Path("published:quick-all")).plan.suite.name == "quick-all"
    store = Store(root / "r")
    store.prepare()
    taken = reuse(Path("published:quick-all"), store)
    assert taken == sum(1 for _ in store.records()) > 50
    with pytest.raises(ResultsError) as caught:
        reuse(root, store)
    assert caught.value.code == "not-published"


def test_what_would_be_reused_counts_as_cached(root):
    """Records of another protocol are of other identities: the pack is read, and nothing of it counts."""
    from moebench.cli.reporting import with_reused

    pack = open_results(Path("published:quick-all"))
    identity = next(iter(pack.plan.groups)).trial_cells[0].identity
    found = with_reused(lambda identity: None, [Path("published:quick-all")])
    assert found(identity) == pack.lookup(identity) is not None
    assert found("another") is None
    done = CliRunner().invoke(
        cli,
        [
            *("plan", "quick-all", "--variant", "dense", "--reuse", "published:quick-all", "--workers", "1"),
            *("--no-mlflow", "--results", str(root / "r")),
        ],
        standalone_mode=False,
    )
    assert done.exception is None
    assert "0 cached" in done.output
