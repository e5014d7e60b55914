"""A whole run with several targets: an own table, a board, the measure views, and one target alone."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from click.testing import CliRunner

from clicks import write_clicks
from moebench import load_board
from moebench.cli.main import cli
from moebench.errors import DataError
from moebench.records import Store
from tiny import run_tiny

SUITE = """
title = "Two targets of a table"
budgets = [6_000]
seeds = 1
variants = ["dense", "home"]

[[task]]
name = "table"
settings = {{ description = "{description}" }}

[host]
name = "tabular"
dim = 8
tower = 4

[training]
steps = 12
batch = 16
optimiser = "adamw_cosine"
lr = 3e-3

[tuning]
trials = 1
lr = {{ low = 1e-3, high = 1e-2, default = 3e-3 }}
weight_decay = {{ low = 1e-3, high = 0.3, default = 0.05 }}

[latency]
batch = 8
rounds = 6
repeats = 1

[space.home]
experts = [1]

[[measure]]
name = "views"
kind = "views"
rows = ["home"]

[[row]]
name = "only clicked"
task = "table?description={description}&only=clicked"
variant = "dense"
budget = 6_000
"""

DESCRIPTION = """
categories = ["colour"]
numbers = ["width"]
[targets]
"use/clicked" = "binary"
"time/seconds" = "real"
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    rng = np.random.RandomState(0)
    width, colour = rng.normal(size=400), rng.choice(["red", "blue"], 400)
    columns = {
        "colour": pa.array(colour.tolist()),
        "width": pa.array(width),
        "clicked": pa.array((width + (colour == "red") > 0.5).astype(int)),
        "seconds": pa.array(2 * width + rng.normal(size=400)),
    }
    data = folder / "mine.parquet"
    pyarrow.parquet.write_table(pa.table(columns), data)
    (folder / "mine.toml").write_text(DESCRIPTION)
    suite = folder / "several.toml"
    suite.write_text(SUITE.format(description=folder / "mine.toml"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        session = run_tiny(str(suite), folder / "results", workers=1, data=data)
        assert session.unfinished == ()
        yield suite, folder / "results", data


def test_each_target_is_scored_beside_the_mean(finished):
    _, results, _ = finished
    finals = [record for record in Store(results).records() if record.cell["kind"] == "final"]
    whole = [record for record in finals if "only" not in record.cell["task"]]
    assert len(whole) == 2
    for record in whole:
        scores = record.scores
        each = [scores["test_auc_clicked"], scores["test_r2_seconds"]]
        assert scores["test_mean_score"] == pytest.approx(sum(each) / 2)
        assert scores["specialization"] is None
    alone = [record for record in finals if record not in whole]
    assert all(record.scores["test_mean_score"] == record.scores["test_auc_clicked"] for record in alone)
    assert len(alone) == 1


def test_a_board_ranks_by_the_mean(finished):
    suite, results, _ = finished
    board = load_board(str(suite), results=results)
    assert [task.metric for task in board.tasks] == ["mean_score"]
    scores = {entry.variant: entry.tasks[0].score for entry in board.entries}
    (final,) = [r for r in Store(results).records() if (r.cell["kind"], r.cell["variant"]) == ("final", "home")]
    assert scores["home"].value == pytest.approx(final.scores["test_mean_score"])


def test_anomalies_are_measured_of_the_final_models(finished):
    _, results, _ = finished
    (found,) = {len(r.scores) for r in Store(results).records() if r.cell["kind"] == "derived"}
    assert found == 4


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"width": None}, "own table has no column 'width'; it has: clicked, colour, seconds."),
        ({"clicked": [0] * 400}, "own table: the target 'clicked' has one class in the train part"),
    ],
)
@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_bad_table_is_one_sentence_before_the_first_run(finished, tmp_path, command, change, sentence):
    suite, _, data = finished
    table = pyarrow.parquet.read_table(data)
    for name, values in change.items():
        table = table.drop([name]) if values is None else table.drop([name]).append_column(name, pa.array(values))
    pyarrow.parquet.write_table(table, tmp_path / "bad.parquet")
    results = tmp_path / "results"
    words = [command, str(suite), "--data", str(tmp_path / "bad.parquet"), "--results", str(results), "--no-mlflow"]
    said = CliRunner().invoke(cli, words, standalone_mode=False).exception
    assert isinstance(said, DataError)
    assert str(said).startswith(sentence)
    assert "\n" not in str(said)
    assert not [*Store(results).records()]


def test_plan_takes_a_file_as_data(finished):
    suite, results, data = finished
    found = CliRunner().invoke(cli, ["plan", str(suite), "--data", str(data), "--results", str(results)])
    assert found.exit_code == 0, found.output
    assert "0 to run" in found.output


def test_the_suite_of_the_page_is_planned_as_it_stands(tmp_path, monkeypatch):
    """docs/multitask.md: description and suite; a table with their columns."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_clicks(tmp_path)
    found = CliRunner().invoke(cli, ["plan", "recommender.toml", "--data", "clicks.parquet", "--workers", "1"])
    assert found.exit_code == 0, found.output
    assert "4 variants + 0 references: 16 trials, 20 finals" in found.output
    for row in ("dense", "mmoe", "ple", "home"):
        assert re.search(rf"^{row} +table.* 132,000 +0/4 +0/5", found.output, re.M), found.output
