"""Runs of another protocol, budget or training are shown with the reason and never mixed in."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path

import pytest

from boards import Bench, hand_plan, small_board
from moebench.board import TEXTS
from moebench.board.build import build_board
from moebench.board.model import Board
from moebench.board.reasons import Reason
from moebench.board.shared_settings import not_compared
from moebench.records import Cell


def board_of(bench: Bench) -> Board:
    return build_board(bench.plan, bench.store.get, partial(bench.store.finals_of, "tiny"))


def put_other(bench: Bench, row: str, accuracy: float, *, suite: str = "tiny", **changed: object) -> Cell:
    """A finished final run of a row whose cell differs from the plan's."""
    cell = dataclasses.replace(bench.group(row).final_cells(bench.store.get)[0], **changed)
    bench.put(cell, row, scores={"test_accuracy": accuracy}, provenance={"suite": suite})
    return cell


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"protocol": "0"}, "it has protocol 0 and not 1."),
        ({"budget": 100_000}, "it has budget 100,000 and not 264,000."),
        ({"axis": "flops"}, "it has axis flops and not total."),
        ({"steps": 300, "threads": 2}, "it has steps 300 and not 400, threads 2 and not 1."),
        ({"host": {"name": "vit", "dim": 64, "depth": 3}}, "it has host depth 3 and not 2."),
        ({"data_digest": "0ther"}, "it has data 0ther and not da7a."),
        ({"micro_batch": 32}, "it has micro-batch 32 and not none."),
    ],
)
def test_a_run_of_another_comparison_is_shown_with_the_reason(
    tmp_path: Path, changed: dict[str, object], reason: str
) -> None:
    bench = small_board(tmp_path)
    before = board_of(bench)
    put_other(bench, "soft_moe", 0.999, **changed)
    (other,) = (board := board_of(bench)).other_runs
    assert (other.variant, other.task, other.runs, other.reason.sentence) == ("soft_moe", "digits", 1, reason)
    assert other.score.value == 0.999
    assert board.rungs == before.rungs, "the ranked rows are what they were"
    assert before.other_runs == ()


def test_runs_of_one_kind_are_one_line_with_their_mean(tmp_path: Path) -> None:
    bench = small_board(tmp_path)
    for seed, accuracy in ((1, 0.90), (2, 0.94)):
        put_other(bench, "soft_moe", accuracy, protocol="0", seed=seed)
    (other,) = board_of(bench).other_runs
    assert other.runs == 2
    assert other.score.value == pytest.approx(0.92)


def test_other_seeds_settings_and_code_of_a_row_are_no_other_runs(tmp_path: Path) -> None:
    """More seeds, another winner and an earlier version of the code are the row's own past, not another comparison."""
    bench = small_board(tmp_path)
    put_other(bench, "soft_moe", 0.9, seed=77)
    put_other(bench, "soft_moe", 0.9, settings={"experts": 16})
    put_other(bench, "soft_moe", 0.9, code_digest="01d")
    assert board_of(bench).other_runs == ()


def test_a_run_that_did_not_end_is_no_result_of_another_comparison(tmp_path: Path) -> None:
    bench = small_board(tmp_path)
    cell = dataclasses.replace(bench.group("soft_moe").final_cells(bench.store.get)[0], protocol="0")
    bench.put(cell, "soft_moe", status="oom")
    assert board_of(bench).other_runs == ()


def test_a_row_that_the_board_does_not_have_is_named(tmp_path: Path) -> None:
    plan = hand_plan()
    cell = plan.groups[0].trial_cells[0].to_json()
    assert not_compared(plan, "gone", cell) == Reason("no_such_row", row="gone", task="digits")


def test_every_format_shows_it(tmp_path: Path) -> None:
    from moebench.board import to_table

    bench = small_board(tmp_path)
    put_other(bench, "soft_moe", 0.5, protocol="0")
    board = board_of(bench)
    for text in (to_table(board, 200), TEXTS["md"](board), TEXTS["html"](board)):
        words = " ".join(text.replace("<wbr>", "").split())
        assert "it has protocol 0 and not 1." in words
    assert '"reason": "it has protocol 0 and not 1."' in TEXTS["json"](board)


def test_a_run_on_a_task_that_is_gone_leaves_the_board_readable(tmp_path: Path) -> None:
    bench = small_board(tmp_path)
    before = board_of(bench)
    put_other(bench, "soft_moe", 0.999, task="of_an_older_version")
    assert board_of(bench) == before
