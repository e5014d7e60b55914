"""Tasks, hosts, measures and studies from files and packages: found, identified, refused in one sentence."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from moebench import load_board, load_model
from moebench.board import to_table
from moebench.cli.main import cli
from moebench.errors import DataError, MoebenchError, PluginError, ResultsError, SuiteError
from moebench.hosts import host_settings
from moebench.plugins import named
from moebench.plugins.find import MEASURES, STUDIES, TASKS
from moebench.records import Store
from moebench.studies import report_named
from moebench.suites import load_experiment
from moebench.tasks import get_task, load_part
from packages import Site

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
    return CliRunner().invoke(cli, [*map(str, words)], catch_exceptions=False, standalone_mode=False)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("everything")
    suite = copied(folder)
    done = moebench("run", suite, "--results", folder / "results", "--no-mlflow")
    return folder, suite, done


def test_a_suite_of_files_runs_to_a_board_and_a_report(ran):
    folder, suite, done = ran
    assert done.return_value == 0, done.output
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
    with pytest.raises(PluginError) as caught:
        named.load(TASKS, "bright@000000000000")
    assert caught.value.code == "plugin-changed"
    with pytest.raises(PluginError) as caught:
        named.load(TASKS, "gone@000000000000")
    assert caught.value.code == "plugin-not-here"


def test_who_brings_one_decides_whether_it_has_a_digest(tmp_path, monkeypatch):
    site = Site(tmp_path / "site", monkeypatch)
    site.write("moestudies_of_mine.py", "def gap(subject): ...")
    points = {"gap": "moestudies_of_mine:gap", "gaps_again": "moestudies.gaps:gaps"}
    site.install("their-measures", points, group="moebench.measures")
    assert named.settle(MEASURES, "gaps") == "gaps"
    for name in points:
        assert named.settle(MEASURES, name).startswith(f"{name}@")


BROKEN = """
import torch
from moebench.measures import Scores
from moebench.tasks import Classes, Image, TaskInfo

class NoTask:
    pass

class NoInfo(Classes):
    split = "none"
    def load(self, part, data_dir=None):
        pass

class NoHost:
    name = "x"

class WrongInfo(Classes):
    split = "none"
    info = TaskInfo(name="wrong", inputs=Image(1, 8, 8), targets={"row": 8}, headline="acc", label="wrong")
    def load(self, part, data_dir=None):
        pass

def raises(subject):
    raise RuntimeError("not today")

def nothing(subject):
    return None

def infinite(subject):
    scores = Scores()
    scores.put("x", float("inf"))
    return scores

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
        (lambda spec: get_task(spec("WrongInfo")), "wrong-info"),
        (lambda spec: get_task(spec("WrongInf")), "no-such-name"),
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


@pytest.mark.parametrize(
    ("place", "code"),
    [
        ("return []", "no-places"),
        ("return None", "no-places"),
        ('return ["x"]', "no-places"),
        ('raise ValueError("bad")', "places-raised"),
        ("return [LayerPlace(-3, 4)]", "impossible-place"),
        ("return [LayerPlace(32, 0)]", "impossible-place"),
    ],
)
def test_a_host_whose_places_are_none_is_refused_when_planned(tmp_path, place, code):
    suite = copied(tmp_path)
    host = tmp_path / "host.py"
    host.write_text(
        host.read_text().replace("        image = image_of", f"        {place}\n        image = image_of", 1)
    )
    with pytest.raises(PluginError) as caught:
        moebench("plan", suite, "--results", tmp_path / "results")
    assert caught.value.code == code
    assert "Mixer" in str(caught.value)


def test_a_host_whose_settings_cannot_be_checked_is_refused(tmp_path):
    suite = copied(tmp_path)
    host = tmp_path / "host.py"
    host.write_text(host.read_text().replace("dim: int = 32", 'dim: "Nope" = 31'))
    with pytest.raises(PluginError) as caught:
        moebench("plan", suite, "--results", tmp_path / "results")
    assert caught.value.code == "host-settings-broken"


def test_two_tasks_of_one_name_are_refused(tmp_path):
    suite = copied(tmp_path)
    (tmp_path / "other.py").write_text((tmp_path / "task.py").read_text().replace("0.8", "0.9"))
    suite.write_text(suite.read_text().replace("[host]", '[[task]]\nname = "other.py:BrightRow"\n\n[host]'))
    with pytest.raises(SuiteError) as caught:
        moebench("plan", suite, "--results", tmp_path / "results")
    assert caught.value.code == "tasks-of-one-name"


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("raises", "RuntimeError: not today"),
        ("nothing", "it must return moebench.measures.Scores, not NoneType"),
        ("infinite", "the score 'x' is inf, not a finite number"),
    ],
)
def test_a_measure_that_fails_costs_its_own_numbers_and_says_why(ran, tmp_path, kind, said):
    folder, _, _ = ran
    suite = copied(tmp_path)
    (tmp_path / "broken.py").write_text(BROKEN)
    suite.write_text(suite.read_text().replace("measure.py:worst_class", f"broken.py:{kind}"))
    shutil.copytree(folder / "results", tmp_path / "results")
    done = moebench("run", suite, "--results", tmp_path / "results", "--no-mlflow")
    assert done.return_value == 1
    assert said in " ".join(done.stderr.split())


@pytest.mark.parametrize("line", ['raise ValueError("broke")', "return None"])
def test_a_study_that_fails_costs_the_report_alone(ran, tmp_path, line):
    folder, _, _ = ran
    suite = copied(tmp_path)
    study = tmp_path / "study.py"
    study.write_text(study.read_text().replace("    sparse, dense =", f"    {line}\n    sparse, dense =", 1))
    shutil.copytree(folder / "results", tmp_path / "results")
    done = moebench("run", suite, "--results", tmp_path / "results", "--no-mlflow")
    assert done.return_value == 0
    assert "the claim 'sparse-beats-dense' could not be judged" in " ".join(done.stderr.split())
    with pytest.raises(PluginError) as caught:
        moebench("report", suite, "--results", tmp_path / "results")
    assert caught.value.code == "claim-raised"


def test_a_plot_that_is_none_is_refused_when_planned(tmp_path):
    suite = copied(tmp_path)
    study = tmp_path / "study.py"
    study.write_text(study.read_text().replace("plots=()", "plots=(sparse_beats_dense,)"))
    with pytest.raises(PluginError) as caught:
        moebench("plan", suite, "--results", tmp_path / "results")
    assert caught.value.code == "wrong-part-of-study"


def test_the_report_of_a_suite_that_ran_is_found_by_its_name(ran):
    folder, _, _ = ran
    done = moebench("report", "everything", "--results", folder / "results")
    assert done.output.strip().endswith("report.html")


def test_a_board_prints_as_its_table_and_a_notebook_shows_it(ran):
    folder, _, _ = ran
    board = load_board(suite="everything", results=folder / "results")
    assert str(board) == to_table(board)
    assert "from_nothing" in board._repr_markdown_()
    assert len(repr(board)) < 200


def test_plan_ends_with_status_1_where_nothing_can_run(tmp_path):
    suite = copied(tmp_path)
    suite.write_text(suite.read_text().replace("41_000", "100"))
    done = moebench("plan", suite, "--results", tmp_path / "results")
    assert done.return_value == 1
    assert "0 cached, 0 to run" in done.output


def test_a_suite_that_was_moved_is_read_where_it_is(ran, tmp_path):
    folder, _, _ = ran
    suite = copied(tmp_path)
    shutil.copytree(folder / "results", tmp_path / "results")
    latest = tmp_path / "results" / "everything" / "latest.json"
    latest.write_text(latest.read_text().replace(str(folder), "/gone"))
    assert moebench("leaderboard", suite, "--results", tmp_path / "results").exit_code == 0


def test_a_task_imports_a_module_beside_its_file(tmp_path):
    suite = copied(tmp_path)
    (tmp_path / "helper.py").write_text("GAIN = 1\n")
    task = tmp_path / "task.py"
    task.write_text(task.read_text().replace("import torch\n", "import torch\nfrom helper import GAIN\n", 1))
    assert moebench("plan", suite, "--results", tmp_path / "results").exit_code == 0


def test_subset_works_on_a_model_whose_task_is_a_file(ran):
    folder, _, _ = ran
    store = Store(folder / "results")
    records = [store.get(path.stem) for path in (folder / "results" / "records").rglob("*.json")]
    final = next(r for r in records if r.cell["kind"] == "final" and r.cell["variant"] == "from_nothing")
    words = ["subset", final.identity, "--experts", "2", "--results", str(folder / "results")]
    done = subprocess.run([sys.executable, "-m", "moebench", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "BrightRow" in done.stdout


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("return Split(x_NCHW,", "return Split(x_NCHW.expand(-1, 3, -1, -1),", "other-shape"),
        ('{"row": row_N}', "{}", "other-targets"),
        ('{"row": row_N}', '{"row": row_N[1:]}', "other-targets"),
        ('{"row": row_N}', '{"row": row_N + 1}', "class-range"),
        ("return Split(x_NCHW, {", "return Split(x_NCHW[:0], {", "empty-part"),
    ],
)
def test_data_that_are_not_as_the_task_says_are_named(tmp_path, old, new, code):
    path = tmp_path / "task.py"
    path.write_text((EXAMPLES / "task.py").read_text().replace(old, new))
    with pytest.raises(DataError) as caught:
        load_part(get_task(f"{path}:BrightRow"), "train")
    assert caught.value.code == code


@pytest.mark.parametrize("word", ["method", "methods"])
def test_a_measure_may_call_an_argument_as_it_likes(tmp_path, word):
    """Only one that says so rests on compressors."""
    suite, measure = copied(tmp_path), tmp_path / "measure.py"
    suite.write_text(suite.read_text() + f'takes = {{ {word} = "test" }}\n')
    measure.write_text(measure.read_text().replace("part: str", f"{word}: str").replace("data(part)", f"data({word})"))
    done = moebench("plan", suite, "--results", tmp_path / "results")
    assert done.exit_code == 0, done.output


def test_no_file_says_where_plug_ins_are(tmp_path):
    suite = copied(tmp_path)
    suite.write_text('plugins = { a = "b" }\n' + suite.read_text())
    with pytest.raises(SuiteError) as caught:
        load_experiment(str(suite))
    assert caught.value.code == "key-made"


def test_every_built_in_one_is_found_by_its_name():
    for group in (MEASURES, STUDIES):
        assert all(named.load(group, name) for name in group.installed())
