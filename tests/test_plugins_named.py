"""Tasks, hosts, measures and studies from files and packages: found, identified, refused in one sentence."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from moebench import load_model
from moebench.cli.main import cli
from moebench.errors import MoebenchError, PluginError, ResultsError, SuiteError
from moebench.hosts import host_settings
from moebench.plugins import named
from moebench.plugins.find import MEASURES, STUDIES, TASKS
from moebench.records import Store
from moebench.studies import report_named
from moebench.suites import load_experiment
from moebench.tasks import get_task

EXAMPLES = Path(__file__).parent.parent / "examples"


def copied(folder):
    """The example suite with all that it names, smaller."""
    for path in EXAMPLES.glob("*.*"):
        shutil.copy(path, folder)
    suite = folder / "everything.toml"
    text = suite.read_text().replace("steps = 150", "steps = 40").replace("trials = 2", "trials = 1")
    suite.write_text(text)
    return suite


def moebench(*words):
    return CliRunner().invoke(cli, [*map(str, words)], catch_exceptions=False)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("everything")
    suite = copied(folder)
    done = moebench("run", suite, "--results", folder / "results", "--no-mlflow")
    return folder, suite, done


def test_a_suite_of_files_runs_to_a_board_and_a_report(ran):
    folder, suite, done = ran
    assert done.exit_code == 0, done.output
    board = json.loads(moebench("leaderboard", suite, "--results", folder / "results", "--format", "json").output)
    assert [entry["rank"] is not None for entry in board["entries"]] == [True, True]
    assert set(board["entries"][0]["tasks"]) == {"bright_row"}
    report = json.loads((folder / "results" / "everything" / "claims.json").read_text())
    (claim,) = report["claims"]
    assert claim["verdict"] in ("holds", "does not hold", "undecided")
    assert claim["decides"]["value"] is not None
    assert "@" not in done.output


def test_the_second_run_trains_nothing_and_another_folder_has_the_same_identities(ran, tmp_path):
    folder, suite, _ = ran
    again = moebench("run", suite, "--results", folder / "results", "--no-mlflow")
    assert "0 to run" in again.output
    elsewhere = copied(tmp_path)
    assert "0 to run" in moebench("plan", elsewhere, "--results", folder / "results").output


@pytest.mark.parametrize("name", ["task.py", "host.py"])
def test_an_edit_of_the_code_makes_new_runs_and_one_of_a_comment_none(ran, tmp_path, name):
    folder, _, _ = ran
    suite = copied(tmp_path)
    path = tmp_path / name
    path.write_text(path.read_text() + "\n# A remark.\n")
    assert "0 to run" in moebench("plan", suite, "--results", folder / "results").output
    path.write_text(path.read_text().replace("0.8", "0.9").replace("mix(x_BTD.mT).mT", "mix(x_BTD.mT).mT * 2"))
    output = moebench("plan", suite, "--results", folder / "results").output
    assert "0 to run" not in output
    assert "0 cached" in output


def test_a_trained_model_is_loaded_with_its_task_and_host(ran):
    folder, _, _ = ran
    store = Store(folder / "results")
    identities = [path.stem for path in (folder / "results" / "records").rglob("*.json")]
    finals = [each for each in map(store.get, identities) if each.cell["kind"] == "final"]
    model = load_model(finals[0].identity, results=folder / "results")
    assert type(model).__name__ == "MixerNetwork"


def test_results_on_files_are_not_published(ran):
    folder, suite, _ = ran
    with pytest.raises(ResultsError) as caught:
        moebench("publish", suite, "--results", folder / "results", "--to", folder / "out")
    assert caught.value.code == "plugin-files-unpublished"
    assert caught.value.facts["names"] == ["BrightRow", "Mixer"]


def test_a_package_brings_them_under_a_name_with_the_digest_of_its_code(tmp_path, monkeypatch):
    shutil.copy(EXAMPLES / "task.py", tmp_path / "my_tasks.py")
    info = tmp_path / "my_tasks-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-tasks\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[moebench.tasks]\nbright = my_tasks:BrightRow\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    name = named.settle(TASKS, "bright")
    assert name.startswith("bright@")
    assert named.without_digest(name) == "bright"
    assert get_task(name).info.name == "bright_row"
    assert named.settle(TASKS, "digits") == "digits", "what moebench brings is covered by the protocol"
    named.remember({})
    with pytest.raises(PluginError) as caught:
        named.load(TASKS, "bright@000000000000")
    assert caught.value.code == "plugin-changed"
    with pytest.raises(PluginError) as caught:
        named.load(TASKS, "gone@000000000000")
    assert caught.value.code == "plugin-not-here"


BROKEN = """
import torch
from moebench.tasks import Classes

class NoTask:
    pass

class NoInfo(Classes):
    split = "none"
    def load(self, part, data_dir=None):
        pass

class NoHost:
    name = "x"

number = 3

class Raises:
    def __init__(self):
        raise RuntimeError("not today")
"""


@pytest.mark.parametrize(
    ("look", "code"),
    [
        (lambda spec: get_task(spec("NoTask")), "no-task"),
        (lambda spec: get_task(spec("NoInfo")), "incomplete-task"),
        (lambda spec: host_settings({"name": spec("NoHost")}), "no-host"),
        (lambda spec: report_named(spec("number")), "no-study"),
    ],
)
def test_what_is_no_task_host_or_study_is_refused(tmp_path, look, code):
    path = tmp_path / "broken.py"
    path.write_text(BROKEN)
    with pytest.raises(PluginError) as caught:
        look(lambda name: f"{path}:{name}")
    assert caught.value.code == code
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "change", [('"task.py:BrightRow"', '"broken.py:Raises"'), ('"host.py:Mixer"', '"gone.py:Mixer"')]
)
def test_a_suite_with_a_broken_plug_in_is_one_sentence(tmp_path, change):
    suite = copied(tmp_path)
    (tmp_path / "broken.py").write_text(BROKEN)
    suite.write_text(suite.read_text().replace(*change))
    with pytest.raises(MoebenchError, match=r"broken.py:Raises|gone.py"):
        moebench("plan", suite, "--results", tmp_path / "results")


def test_a_measure_that_does_not_take_what_is_given_or_is_none_is_refused(tmp_path):
    suite = copied(tmp_path)
    text = suite.read_text()
    suite.write_text(text + 'takes = { portion = "test" }\n')
    with pytest.raises(SuiteError, match="portion"):
        moebench("plan", suite, "--results", tmp_path / "results")
    (tmp_path / "broken.py").write_text(BROKEN)
    suite.write_text(text.replace("measure.py:worst_class", "broken.py:number"))
    with pytest.raises(PluginError) as caught:
        moebench("plan", suite, "--results", tmp_path / "results")
    assert caught.value.code == "no-measure"


def test_no_file_says_where_plug_ins_are(tmp_path):
    suite = copied(tmp_path)
    suite.write_text('plugins = { a = "b" }\n' + suite.read_text())
    with pytest.raises(SuiteError) as caught:
        load_experiment(str(suite))
    assert caught.value.code == "key-made"


def test_every_built_in_one_is_found_by_its_name():
    for group in (MEASURES, STUDIES):
        assert all(named.load(group, name) for name in group.installed())
