"""Latency comes from one session of everything on one device, or not at all."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from boards import BUDGET, DEVICE, Bench, small_board
from moebench.board import TEXTS, Reason, to_table

ROWS = {"dense": 2.0, "soft_moe": 1.0, "sparse_topk": 4.0}


def filled(root: Path, **options: Any) -> Bench:
    bench = Bench(root, **options)
    for row in ROWS:
        for task in bench.plan.suite.task_names:
            bench.fill(row, (0.95, 0.97, 0.96), task=task)
    return bench


def test_the_headline_is_the_median_with_order_statistics(tmp_path: Path) -> None:
    """Twelve rounds: the 3rd smallest and the 3rd largest are the 95 % bounds."""
    bench = filled(tmp_path)
    times = [5.0, 1.0, 2.0, 3.0, 4.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 50.0]
    bench.time(ROWS, change=lambda row, result: result | {"forward_ms": times} if row == "soft_moe" else result)
    latency = bench.board().entry("soft_moe").latency
    assert latency is not None
    assert (latency.value, latency.low, latency.high, latency.unit) == (6.5, 3.0, 10.0, "ms")


def test_the_ratio_is_taken_inside_each_round(tmp_path: Path) -> None:
    """The machine is ten times slower in every other round, and once stops for soft_moe: the ratio stays."""
    bench = filled(tmp_path)
    slow = [1.0, 10.0] * 6

    def throttled(row: str, result: dict) -> dict:
        times = [ROWS[row] * factor for factor in slow]
        return result | {"forward_ms": [*times[:-1], 1000.0] if row == "soft_moe" else times}

    bench.time(ROWS, change=throttled)
    latency = bench.board().entry("soft_moe").latency
    assert latency is not None
    ratio = latency.ratio_to_dense
    assert ratio is not None
    assert (ratio.value, ratio.low, ratio.high) == (0.5, 0.5, 0.5)
    assert latency.high == pytest.approx(10.0)


def test_over_tasks_the_mean_is_taken_inside_each_round(tmp_path: Path) -> None:
    bench = filled(tmp_path, tasks=["digits", "fashion_mnist"])
    rounds = {"digits": [1.0, 3.0] * 6, "fashion_mnist": [7.0, 5.0] * 6}
    for task, times in rounds.items():

        def as_given(row: str, result: dict, times: list[float] = times) -> dict:
            return result | {"forward_ms": [time * (2 if row == "dense" else 1) for time in times]}

        bench.time(ROWS, task=task, change=as_given)
    entry = bench.board().entry("soft_moe")
    assert entry.latency is not None
    assert (entry.latency.value, entry.latency.low, entry.latency.high) == (4.0, 4.0, 4.0)
    assert entry.latency.ratio_to_dense is not None
    assert entry.latency.ratio_to_dense.value == 0.5
    assert [task.latency.value for task in entry.tasks if task.latency] == [2.0, 6.0]


def test_a_task_that_was_not_measured_is_named(tmp_path: Path) -> None:
    bench = filled(tmp_path, tasks=["digits", "fashion_mnist"])
    bench.time(ROWS)
    entry = bench.board().entry("soft_moe")
    assert entry.latency is None
    assert entry.latency_reason == Reason("not_timed", device=DEVICE, on_task="fashion_mnist")
    assert entry.tasks[0].latency is not None


def test_without_a_session_there_is_a_reason_and_still_a_rank(tmp_path: Path) -> None:
    entry = filled(tmp_path).board().entry("soft_moe")
    assert (entry.latency, entry.rank) == (None, (1, 3))
    assert entry.latency_reason == Reason("not_timed", device=DEVICE)


def test_latency_of_another_device_is_not_shown(tmp_path: Path) -> None:
    bench = filled(tmp_path)
    bench.time(ROWS, provenance={"device": "NVIDIA H200"})
    entry = bench.board().entry("soft_moe")
    assert entry.latency is None
    assert entry.latency_reason == Reason("timed_elsewhere", found="NVIDIA H200", device=DEVICE)


def test_a_new_row_makes_the_old_session_void(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.fill("dense", (0.95, 0.97, 0.96))
    bench.time({"dense": 2.0})
    assert bench.board().entry("dense").latency is not None
    bench.fill("soft_moe", (0.95, 0.97, 0.96))
    assert bench.board().entry("dense").latency is None


def test_a_row_without_a_done_run_has_nothing_to_time(tmp_path: Path) -> None:
    bench = filled(tmp_path, variants=[*ROWS, "extra"])
    bench.time(ROWS)
    entry = bench.board().entry("extra")
    assert entry.latency_reason == Reason("nothing_to_time")


def test_one_finalist_that_failed_does_not_take_the_others_along(tmp_path: Path) -> None:
    bench = filled(tmp_path)

    def died(row: str, result: dict) -> dict:
        return {"row": row, "weights": None, "peak_memory_mib": None} if row == "soft_moe" else result

    bench.time(ROWS, change=died, status="error", reason="soft_moe: its process ended.")
    board = bench.board()
    assert board.entry("soft_moe").latency_reason == Reason("session_lacks", why="soft_moe: its process ended")
    assert board.entry("sparse_topk").latency is not None


def test_without_dense_in_the_session_there_is_no_ratio(tmp_path: Path) -> None:
    bench = filled(tmp_path)
    bench.time({row: ROWS[row] for row in ("soft_moe", "sparse_topk")})
    latency = bench.board().entry("soft_moe").latency
    assert latency is not None
    assert latency.ratio_to_dense is None


@pytest.mark.parametrize("bad", [None, 0.0, -1.0])
def test_a_time_that_is_none_is_no_measurement(tmp_path: Path, bad: float | None) -> None:
    bench = filled(tmp_path)
    bench.time(ROWS, change=lambda row, result: result | {"forward_ms": [1.0, bad, 2.0]})
    assert bench.board().entry("soft_moe").latency_reason == Reason("session_lacks", why="")


def test_batch_one_training_step_layers_and_memory_stand_beside(tmp_path: Path) -> None:
    entry = small_board(tmp_path).board().entry("soft_moe")
    assert entry.latency is not None
    for timing, share in ((entry.latency_batch1, 1 / 3), (entry.train_step, 3), (entry.latency_layers, 1 / 2)):
        assert timing is not None
        assert timing.value == pytest.approx(entry.latency.value * share)
        assert timing.ratio_to_dense is not None
    memory = (entry.forward_peak_memory_mib, entry.resident_memory_mib, entry.resident_memory_batch1_mib)
    assert memory == (10.25, 30.5, 20.75)


def test_a_layer_may_be_fast_at_one_batch_and_slow_at_the_other(tmp_path: Path) -> None:
    """soft_moe has 0.69 of the time of dense at batch 64, and 1.84 at batch 1: every view has both."""
    board = small_board(tmp_path).board()
    entry = json.loads(TEXTS["json"](board))["entries"][0]
    ratios = [entry[name]["ratio_to_dense"]["value"] for name in ("latency", "latency_batch1")]
    assert ratios == [pytest.approx(0.69, abs=0.01), pytest.approx(1.84, abs=0.01)]
    assert entry["tasks"]["digits"]["latency_batch1"]["value"] == entry["latency_batch1"]["value"]
    (line, *_) = csv.DictReader(io.StringIO(TEXTS["csv"](board)))
    assert float(line["latency_batch1_ratio_to_dense"]) == ratios[1]
    for text in (to_table(board, 80), TEXTS["md"](board), TEXTS["html"](board)):
        assert "0.69x" in text
        assert "1.84x" in text


def test_tokens_a_second_of_a_training_step_by_hand(tmp_path: Path) -> None:
    """64 inputs of 16 tokens in three times the milliseconds of a forward pass."""
    entry = small_board(tmp_path).board().entry("soft_moe")
    assert entry.train_step is not None
    assert entry.train_tokens_per_second == pytest.approx(64 * 16 / entry.train_step.value * 1000)


@pytest.mark.parametrize("weights", ["none", "initial"])
def test_untrained_weights_have_no_latency(tmp_path: Path, weights: str) -> None:
    bench = filled(tmp_path)
    bench.time(ROWS, change=lambda row, result: result | ({"weights": weights} if row == "dense" else {}))
    board = bench.board()
    assert (board.entry("dense").latency, board.entry("dense").latency_reason) == (None, Reason("untrained_weights"))
    assert board.entry("dense").train_step is None
    other = board.entry("soft_moe").latency
    assert other is not None
    assert other.ratio_to_dense is None


def test_each_budget_has_its_own_session(tmp_path: Path) -> None:
    bench = Bench(tmp_path, variants=["dense"], budgets=[BUDGET, 4 * BUDGET])
    for budget in (BUDGET, 4 * BUDGET):
        bench.fill("dense", (0.95, 0.97, 0.96), budget=budget)
    bench.time({"dense": 2.0})
    board = bench.board()
    assert board.entry("dense").latency is not None
    assert board.entry("dense", 4 * BUDGET).latency is None


def test_a_row_that_drifts_against_dense_is_flagged(tmp_path: Path) -> None:
    """Twelve rounds that rise from 1x to 1.55x: of all orders two in half a billion. Dense drifting with it is none."""
    bench = filled(tmp_path)
    rising = [2.0 + 0.1 * index for index in range(12)]

    def times(row: str, result: dict[str, Any]) -> dict[str, Any]:
        return result | {"forward_ms": rising if row == "soft_moe" else [ROWS[row]] * 12}

    bench.time(ROWS, change=times)
    board = bench.board()
    (flag,) = board.entry("soft_moe").flags
    assert flag.code == "drift"
    assert (flag.facts["early"], flag.facts["late"]) == pytest.approx((1.075, 1.475))
    assert board.entry("dense").flags == board.entry("sparse_topk").flags == ()

    together = filled(tmp_path / "together")
    together.time(ROWS, change=lambda row, result: result | {"forward_ms": [ROWS[row] * time for time in rising]})
    assert all(not entry.flags for entry in together.board().entries)


def test_rounds_in_any_order_are_not_flagged(tmp_path: Path) -> None:
    bench = filled(tmp_path)
    up_and_down = [2.0, 2.5, 2.1, 2.4, 2.2, 2.6, 2.3, 2.0, 2.5, 2.1, 2.4, 2.2]
    bench.time(
        ROWS, change=lambda row, result: result | {"forward_ms": up_and_down if row == "soft_moe" else [2.0] * 12}
    )
    assert all(not entry.flags for entry in bench.board().entries)
