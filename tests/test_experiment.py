"""One kind of experiment: a suite that is tuned and judged; read once, resolved once; plans of earlier versions."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import moebench.suites.load as loading
from fixed_rows import write
from moebench.cli.main import cli
from moebench.errors import SuiteError, UsageError
from moebench.plans.plan import Plan
from moebench.protocol import PROTOCOL
from moebench.records import Store
from moebench.studies import study_of
from moebench.studies.claim import Bound, Claim, every, mean
from moebench.studies.study import Study
from moebench.suites import load_experiment
from moebench.suites.request import ask
from plans import VALUES as RANKED
from plans import a_plan, a_suite
from tiny import SUITE, run_tiny

PUBLISHED = Path(__file__).parent.parent / "results" / "published" / "protocol-1"
BOTH = """
[[measure]]
name = "with some"
kind = "subset"
rows = ["soft_moe"]

[[measure]]
name = "time"
kind = "cost"
rows = ["soft_moe"]
seeds = 1
alone = true
takes = { shares = [1, 0.25], batches = [1], rounds = 2, repeats = 1 }

[[row]]
name = "as it was"
variant = "soft_moe"
settings = { experts = 8 }
training = { optimiser = "adam", lr = 3e-3 }
"""


def judged(evidence):
    """Whether a model without its experts falls behind."""
    values = [evidence.values("tiny", "subset", "soft_moe", name) for name in ("all", "none")]
    lost = mean({index: values[0][index] - values[1][index] for index in values[0]})
    return every([Bound(-1.0, least_seeds=2).judge("all less none", lost)], "no run of it is done")


CLAIM = Claim(
    key="lost",
    source="extension",
    part="tiny",
    statement="Experts are worth something.",
    paper="-",
    here="all less none",
    rule="above -1",
    unit="difference",
    judge=judged,
)
STUDY = Study(name="worth", source="nobody", question="Are they?", claims=(CLAIM,), plots=())


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A tuned suite with a row of fixed settings, measures and a study; its file and a place for its results."""
    folder = tmp_path_factory.mktemp("both")
    path = folder / "tiny.toml"
    (folder / "worth.py").write_text("from test_experiment import STUDY\n")
    path.write_text('study = "worth.py:STUDY"\n' + SUITE.format(steps=12, task="digits", patch=4) + BOTH)
    return str(path), folder / "results"


def command(*words):
    result = CliRunner().invoke(cli, [str(word) for word in words])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def test_a_tuned_suite_with_measures_and_a_study_has_a_board_and_claims(tmp_path, both):
    path, results = both
    planned = command("plan", path, "--results", results)
    assert "4 trials, 4 finals, 2 fixed runs, 3 measures, 1 latency session   0 cached, 14 to run" in planned
    session = run_tiny(path, results)
    assert (session.unfinished, session.warnings) == ((), ())
    assert {entry.variant for entry in session.board.entries} == {"dense", "soft_moe"}, "fixed rows are not ranked"
    store = Store(results)
    measured = [record for record in store.records() if record.cell["kind"] == "derived"]
    finals = {record.identity: record for record in store.records() if record.cell["kind"] == "final"}
    assert {record.status for record in measured} == {"done"}
    winners = [finals[record.cell["session"]["of"]] for record in measured]
    assert {(winner.cell["variant"], winner.cell["optimiser"]) for winner in winners} == {("soft_moe", "adamw_cosine")}
    assert sorted(record.cell["session"]["measure"] for record in measured) == ["cost", "subset", "subset"]
    for record, winner in zip(measured, winners, strict=True):
        if record.cell["session"]["measure"] == "subset":
            assert record.scores["all"] == winner.scores["test_accuracy"]
    assert session.report == results / "tiny" / "report.html"
    (claim,) = json.loads((results / "tiny" / "claims.json").read_text())["claims"]
    assert (claim["key"], claim["verdict"], claim["decides"]["seeds"]) == ("lost", "holds", 2)
    pages = {page.name: page.read_bytes() for page in (results / "tiny").glob("*.*") if page.is_file()}
    assert {"board.html", "report.html", "tiny.jsonl", "ran.json"} <= pages.keys()
    assert command("report", path, "--results", results) == f"{session.report}\n"
    packed = command("report", path, "--packs", results / "tiny", "--out", tmp_path / "again")
    assert Path(packed.strip()).read_bytes() == pages["report.html"]
    assert "14 cached, 0 to run" in command("plan", path, "--results", results)
    assert "as it was" in command("run", path, "--results", results, "--no-mlflow", "--quiet")
    assert pages == {page.name: page.read_bytes() for page in (results / "tiny").glob("*.*") if page.is_file()} | {
        name: pages[name] for name in ("ran.json", "latest.json")
    }


def test_measures_of_a_tuned_row_wait_for_its_finals(tmp_path):
    plan = a_plan(**RANKED | {"measure": [{"name": "some", "kind": "subset", "rows": ["soft_moe"], "seeds": 1}]})
    nothing = {}.get
    assert not list(plan.measuring(nothing, alone=False)), "no winner is known"
    assert (plan.expected_measures(), plan.expected_runs()) == (1, 5 * (4 + 2) + 1)
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_a_measure_of_a_row_that_there_is_not_is_said_when_planned(tmp_path):
    with pytest.raises(SuiteError, match=r"measure 'some' is of the row 'soft', which is not there; did you mean"):
        a_suite(measure=[{"name": "some", "kind": "subset", "rows": ["soft"]}])


@pytest.mark.parametrize(
    ("named", "error", "said"),
    [
        ("papre", SuiteError, "unknown study 'papre'; did you mean 'paper'?"),
        ("paper", UsageError, "the study 'paper' has no claim about suite 'mine', but about: paper-norm, "),
    ],
)
def test_a_study_that_does_not_fit_is_one_sentence(tmp_path, named, error, said):
    path = write(tmp_path / "mine.toml", RANKED | {"study": named})
    with pytest.raises(error) as caught:
        study_of(load_experiment(str(path)))
    assert said in str(caught.value)
    for words in (("run", path), ("plan", path), ("report", path)):
        result = CliRunner().invoke(cli, [*map(str, words), "--results", str(tmp_path / "results")])
        assert str(result.exception) == str(caught.value)
    assert not (tmp_path / "results").exists()


@pytest.fixture
def read(monkeypatch):
    """How often each suite file is read."""
    counts = []
    monkeypatch.setattr(loading, "read_values", lambda name: counts.append(name) or READ(name))
    return counts


READ = loading.read_values


def test_a_file_is_read_once_by_every_command(both, read):
    path, results = both
    for words in (
        ("plan", path),
        ("run", path, "--no-mlflow", "--quiet"),
        ("leaderboard", path),
        ("leaderboard", "tiny"),
        ("report", path),
        ("publish", path),
    ):
        read.clear()
        command(*words, "--results", results)
        assert len(read) == 1, words
    read.clear()
    ask("paper", full=True)
    assert len(read) == len(set(read)) == 7, "the series and its parts"


def test_a_request_is_frozen_and_resolved_once(read):
    (request,) = ask("quick", seeds=5, trials=2, device="cpu").requests
    assert (request.suite.seeds, request.suite.tuning.trials) == (5, 2)
    assert request.protocol == f"{PROTOCOL} (seeds=5, trials=2)"
    moved = dataclasses.replace(request, extras=("mine.py:Mine",))
    assert moved.suite is request.suite
    assert len(read) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        request.seeds = 3


@pytest.mark.parametrize("name", ["quick-all", "standard", "standard-flops"])
def test_plans_of_earlier_versions_are_read(name):
    (path,) = (PUBLISHED / name).glob("*/records.jsonl")
    with path.open() as file:
        value = json.loads(file.readline())["plan"]
    assert "fixed" not in value
    plan = Plan.from_json(value)
    assert (plan.suite.name, plan.fixed, plan.measures) == (name, (), {})
    assert json.dumps(plan.to_json()) == json.dumps(value), "and written as they were"


def test_a_kept_plan_of_fixed_rows_is_read_without_torch(tmp_path):
    command("plan", "paper-norm", "--results", tmp_path)
    code = f"""
import sys
from moebench.cli.main import cli
cli.main(["plan", "paper-norm", "--results", {str(tmp_path)!r}], standalone_mode=False)
heavy = {{"torch", "mlflow", "optuna", "sklearn", "timm"}} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
