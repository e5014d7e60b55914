"""A suite of text from its file to a published board: windows of one's own corpus, by a tokenizer."""

import json
from pathlib import Path

import pytest

from moebench.board import to_table
from moebench.experiment import ExperimentResult, run_experiment
from moebench.plans.make import make_plan
from moebench.publish.sources import open_results, published_board
from moebench.publish.write import publish
from moebench.runner.options import RunOptions
from moebench.runner.progress import Progress
from moebench.suites import load_experiment
from moebench.suites.request import ask, request_for

SUITE = """
title = "Words"
budgets = [8_576]
seeds = 2
variants = ["dense", "sparse_topk", "soft_moe"]

[[task]]
name = "text"
settings = { tokenizer = "bpe-270", window = 16 }

[host]
name = "decoder"
dim = 16
depth = 1
heads = 2
norm = "rms"
positions = "rotary"
bias = false
activation = "swiglu"

[training]
steps = 20
batch = 16

[tuning]
trials = 2
lr = { low = 1e-3, high = 3e-2, default = 1e-2 }
weight_decay = { low = 1e-3, high = 0.3, default = 0.05 }

[latency]
batch = 8
rounds = 6
repeats = 1

[space.sparse_topk]
experts = [8]
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ExperimentResult]:
    """The results directory, and what a run left."""
    root = tmp_path_factory.mktemp("text")
    (root / "data").mkdir()
    for number in range(60):
        (root / "data" / f"{number:03}.txt").write_text(f"document {number} " + "the quick brown fox " * 60)
    (root / "words.toml").write_text(SUITE)
    how = RunOptions(results=root / "r", mlflow=False)
    return root, run_experiment(ask(str(root / "words.toml"), data=root / "data"), how, Progress())


def test_bits_per_byte_rank_and_a_layer_that_looks_ahead_has_its_reason(ran):
    board = ran[1].board
    by_row = {entry.variant: entry for entry in board.entries}
    assert 0 < by_row["dense"].representation.value < 8
    assert by_row["sparse_topk"].rank is not None
    assert "causal host" in by_row["soft_moe"].reason.sentence
    assert "bits per byte" in to_table(board, 100)
    assert board.tasks[0].name == "text-bpe-270-16"


def test_the_page_draws_where_tokens_go_and_says_what_the_next_one_takes(ran):
    folder = ran[0] / "r" / "words"
    page, board = (folder / "board.html").read_text(), json.loads((folder / "board.json").read_text())
    assert 'id="chart-tokens-0"' in page
    assert 'id="chart-domains-0"' not in page, "the text has one domain"
    assert "No specialization: a window has a token at each place" in page
    assert (folder / "figures" / "tokens-0.png").stat().st_size > 1000
    rows = {entry["variant"]: entry for entry in board["entries"]}
    assert rows["dense"]["latency_token"]["value"] > 0
    assert rows["soft_moe"]["latency_token"] is None
    assert "latency_token_ms" in (folder / "board.csv").read_text().splitlines()[0]


def test_it_is_published_and_read_again(ran):
    """The name of a task with settings is no file's: reading the pack executes nothing and refuses nothing."""
    root, result = ran
    publish(open_results(root / "r", "words"), root / "p")
    (directory,) = (root / "p" / "words").iterdir()
    again = published_board(directory)
    found, were = ({e.variant: e.representation for e in board.entries} for board in (again, result.board))
    assert found == {row: were[row] for row in ("dense", "sparse_topk")}


@pytest.mark.parametrize("names", [("text-code", "text"), ("text-quick", "text-quick-all")])
def test_the_runs_of_the_short_suite_are_runs_of_the_long_one(names):
    """What `text-code` trains is found again by `text` in the same results."""
    rows = ("sparse_topk", "hash_token")
    short, long = (load_experiment(name).suites[0] for name in names)
    assert short.task == long.task[:1], "the Bible comes with an extra"
    found, wanted = (
        {cell.identity for group in make_plan(request).groups for cell in group.trial_cells}
        for suite in (short, long.model_copy(update={"task": long.task[:1]}))
        for request in [request_for(suite, variants=rows, device="cpu")]
    )
    assert found
    assert found <= wanted
