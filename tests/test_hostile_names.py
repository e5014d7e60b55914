"""No name that a suite, a plug-in or a record brings leads out of the results directory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from moebench.errors import MoebenchError, SuiteError
from moebench.publish import reuse
from moebench.publish.pack import NAME
from moebench.records import Store
from moebench.suites import load_experiment
from moebench.suites.load import find_suites, load_suite
from tiny import PLUGIN, run_tiny, write_suite

PATHS = ("../../up", "/tmp/up", "..", "a/../../b", "a\\..\\b", "", "records", "a\x00b", "~", "$(touch up)", "x" * 300)


def files(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*")}


def write_named(folder: Path, file: str, name: str) -> str:
    """A plug-in that calls itself so."""
    path = folder / f"{file}.py"
    text = PLUGIN.format(name="Mine", row="NAME", does="works", in_training="pass")
    path.write_text(text.replace('"NAME"', repr(name)))
    return f"{path}:Mine"


def test_a_plug_in_writes_nothing_outside_whatever_it_calls_itself(tmp_path: Path) -> None:
    (tmp_path / "deep" / "deeper").mkdir(parents=True)
    suite = write_suite(tmp_path)
    specs = tuple(write_named(tmp_path, f"plugin{number}", name) for number, name in enumerate(PATHS))
    results = tmp_path / "deep" / "deeper" / "results"
    before = files(tmp_path)
    session = run_tiny(suite, results, variants=specs, seeds=1, trials=1, mlflow=True)
    refused = [reason for _, _, reason in session.unfinished if "must be lower-case letters" in reason]
    assert len(refused) == len(PATHS) - 1, session.unfinished  # "records" names a row as well as any
    new = {path for path in files(tmp_path) - before if "__pycache__" not in path.parts}
    assert {path for path in new if not path.is_relative_to("deep/deeper/results")} == set()
    assert not Path("/tmp/up").exists()


@pytest.mark.parametrize("kind", ["quick", "paper", "paper-norm"])
@pytest.mark.parametrize("name", [*PATHS, "Records", "sidecars", "claims", "logs", "slurm"])
def test_a_suite_or_a_series_with_such_a_name_is_refused(tmp_path: Path, kind: str, name: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f"name = {json.dumps(name)}\n{find_suites()[kind].read_text()}")
    with pytest.raises(SuiteError, match=r"a suite's name|a folder of every results directory"):
        load_experiment(str(path))


def test_every_folder_of_the_results_is_no_suites_name(tmp_path: Path) -> None:
    suite = write_suite(tmp_path)
    results = tmp_path / "results"
    run_tiny(suite, results, seeds=1, trials=1)
    folders = {path.name for path in results.iterdir() if path.is_dir()} - {"tiny"}
    assert {"records", "sidecars", "weights"} <= folders
    for name in folders:
        with pytest.raises(SuiteError, match=r"a folder of every results directory"):
            load_suite(write_suite(tmp_path, name=name))


@pytest.mark.parametrize("identity", ["../../up", "/tmp/up", "", "0" * 64])
def test_a_record_cannot_choose_its_place(tmp_path: Path, identity: str) -> None:
    pack = tmp_path / "published"
    pack.mkdir()
    record = {"schema_version": 1, "identity": identity, "cell": {"protocol": "1"}, "status": "done"}
    (pack / NAME).write_text(json.dumps(record) + "\n")
    store = Store(tmp_path / "results")
    store.prepare()
    before = files(tmp_path)
    with pytest.raises(MoebenchError):
        reuse(pack, store)
    assert files(tmp_path) == before
