"""One's own row: a sentence on how it did, and no line for rows that nobody asked for."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from boards import Bench, small_board
from moebench.board import to_table, words
from moebench.board.verdict import listed, verdicts
from moebench.cli.reporting import print_session
from moebench.experiment import ExperimentResult
from moebench.plans.estimate import for_seeds


def test_the_sentence_has_score_standing_difference_and_latency(tmp_path: Path) -> None:
    board = small_board(tmp_path).board()
    ahead = "0.976, significantly better than dense and sparse_topk; +0.011 ±0.003 vs dense"
    behind = "0.943, significantly worse than soft_moe and dense; -0.023 ±0.003 vs dense"
    assert verdicts(board, ["soft_moe", "sparse_topk"]) == [
        ("soft_moe", f"{ahead}; latency 0.69x dense at batch 64 and 1.84x dense at batch 1."),
        ("sparse_topk", f"{behind}; latency 1.28x dense at batch 64 and 3.42x dense at batch 1."),
    ]
    assert verdicts(board, ["random_router"])[0][1].startswith("0.913, reference row: frozen random router; ")


def test_a_tie_is_said_and_a_row_without_a_score_has_no_sentence(tmp_path: Path) -> None:
    bench = Bench(tmp_path, variants=["dense", "soft_moe", "sparse_topk"])
    bench.fill("dense", (0.961, 0.972, 0.964), specialization=None)
    bench.fill("soft_moe", (0.962, 0.970, 0.966))
    ((name, sentence),) = verdicts(bench.board(), ["soft_moe", "sparse_topk"])
    assert (name, sentence[:21]) == ("soft_moe", "0.966, ties with dens")
    assert listed([*"abcdefg"]) == "a, b, c, d, e and 2 more"


def test_rows_that_nobody_asked_for_are_not_listed_and_the_others_are_marked(tmp_path: Path) -> None:
    bench = Bench(tmp_path, variants=["dense", "soft_moe", "sparse_topk", "deepseek"])
    bench.fill("dense", (0.961, 0.972, 0.964), specialization=None)
    bench.fill("soft_moe", (0.962, 0.970, 0.966))
    board = bench.board()
    text = to_table(board, asked_for=["soft_moe"])
    assert "> soft_moe" in text
    assert "> dense" not in text
    assert "sparse_topk" not in text
    whole = to_table(board)
    assert "sparse_topk, deepseek  not run yet." in whole, "remarks of one kind share a line"
    assert ">" not in whole
    assert [entry.variant for entry in words.without_runs(board.rungs[0])] == ["sparse_topk", "deepseek"]


def test_the_last_sentence_says_what_more_seeds_take_and_the_command(tmp_path: Path, monkeypatch, capsys) -> None:
    """Of soft_moe alone: five finals of 2.5 s on one worker, and 20 s for a latency session."""
    bench = small_board(tmp_path)
    rows = tuple(dataclasses.replace(row, selected=row.name == "soft_moe") for row in bench.plan.rows)
    plan = dataclasses.replace(bench.plan, rows=rows)
    session = ExperimentResult((plan,), ((bench.board(), tmp_path),), None, (), ())
    monkeypatch.setattr("moebench.cli.reporting.workers_for", lambda plan: 1)
    monkeypatch.setattr("moebench.cli.hints._call", None)  # whose options the command would carry
    sentence = "6 more runs (about 32 s) for 8 seeds: `moebench run 'my suite.toml' --seeds 8`\n"
    for quiet, chosen in ((False, True), (True, True), (False, False)):
        print_session(session, tmp_path, "my suite.toml", quiet=quiet, chosen=chosen)
        assert (sentence in capsys.readouterr().out) == (chosen and not quiet)


def test_what_more_seeds_take(tmp_path: Path) -> None:
    """Five more finals of each of three rows at 2.5 s, and a latency session."""
    bench = small_board(tmp_path, variants=["dense", "soft_moe", "sparse_topk"])
    more = for_seeds(bench.plan, bench.store.get, 8)
    rows = len(bench.plan.selected_groups())
    assert (more.runs, more.seconds) == (5 * rows + 1, 2.5 * 5 * rows)
    assert for_seeds(bench.plan, bench.store.get, 3).runs == 0
