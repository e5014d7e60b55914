"""Latency: compared on one device and of one frame, refused across devices, and never part of a verdict."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from boards import DEVICE, Bench, hand_plan, small_board
from comparisons import benches, compared, only, with_cells
from moebench.board import Reason
from moebench.board.compare.formats import LATENCY, cells, notes, titles, to_json
from moebench.board.compare.verdicts import speed
from moebench.board.model import Timing

ROWS = {"dense": (0.961, 0.972, 0.964), "soft_moe": (0.972, 0.981, 0.976), "sparse_topk": (0.935, 0.951, 0.942)}


def timed(bench: Bench, **milliseconds: float) -> Bench:
    for row in ROWS:
        bench.fill(row, ROWS[row], specialization=None)
    bench.time(milliseconds)
    return bench


def two(tmp_path: Path) -> tuple[Bench, Bench]:
    a, b = benches(tmp_path, hand_plan())
    timed(a, dense=1.9, soft_moe=1.31, sparse_topk=2.44)
    timed(b, dense=1.9, soft_moe=1.6, sparse_topk=1.0)
    return a, b


def test_it_is_compared_on_one_device(tmp_path: Path) -> None:
    found = compared(*two(tmp_path))
    assert {each.row: speed(each.latency) for each in found.pairs} == {
        "dense": "undecided",
        "soft_moe": "slower",
        "sparse_topk": "faster",
    }
    assert found.counts == {"undecided": 3}, "slower is not worse"
    assert found.no_latency is None
    assert titles(found)[-2:] == ["latency A to B", "batch 1 A to B"]
    assert cells(found, only(found))[-2] == "1.32 to 1.62 ms, slower"
    assert cells(found, only(found, "dense"))[-2] == "1.92 to 1.92 ms"
    assert LATENCY in notes(found)


def test_batch_1_stands_beside_the_suites_batch(tmp_path: Path) -> None:
    a, b = benches(tmp_path, hand_plan())
    for bench, times in ((a, {"dense": 0.2, "soft_moe": 0.31}), (b, {"dense": 0.2, "soft_moe": 0.25})):
        timed(bench)

        def add(row: str, result: dict[str, Any], times: dict[str, float] = times) -> dict[str, Any]:
            return {**result, "forward_batch1_ms": [times[row]] * 12 if row in times else []}

        bench.time({"dense": 1.9, "soft_moe": 1.31, "sparse_topk": 2.44}, change=add)
    found = compared(a, b)
    assert titles(found)[-2:] == ["latency A to B", "batch 1 A to B"]
    assert cells(found, only(found))[-2:] == ["1.32 to 1.32 ms", "0.31 to 0.25 ms, faster"]
    assert cells(found, only(found, "sparse_topk"))[-1] == "-"
    pair = next(each for each in json.loads(to_json(found))["pairs"] if each["row"] == "soft_moe")
    assert (pair["speed"], pair["speed_batch1"]) == ("undecided", "faster")


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [
        ((1.0, 1.2), (1.2, 1.4), "undecided"),
        ((1.0, 1.2), (1.21, 1.4), "slower"),
        ((1.0, 1.2), (0.8, 0.99), "faster"),
        ((1.0, 1.2), (None, None), "undecided"),
    ],
)
def test_intervals_that_touch_decide_nothing(a: Any, b: Any, verdict: str) -> None:
    one, other = (Timing(1.0, low, high, "ms") for low, high in (a, b))
    assert speed((one, other)) == verdict


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        ({"device": {"name": "another"}}, "latency_of_devices", f"A was measured on {DEVICE} and B on another"),
        ({"batch": 7}, "latency_of_batches", "A was measured at batch 64 and B at batch 7"),
    ],
)
def test_across_devices_and_batches_it_is_refused(tmp_path: Path, change: dict[str, Any], code: str, says: str) -> None:
    a, b = small_board(tmp_path / "a"), small_board(tmp_path / "b")
    if "device" in change:
        b.plan = dataclasses.replace(b.plan, device=b.plan.device | change["device"])
    else:
        latency = b.plan.suite.latency.model_copy(update=change)
        b.plan = dataclasses.replace(b.plan, suite=b.plan.suite.model_copy(update={"latency": latency}))
    b.time({"dense": 1.9, "soft_moe": 1.31, "sparse_topk": 2.44, "random_router": 2.4})
    assert b.board().entry("soft_moe").latency is not None, "it is there, and would be compared"
    found = compared(a, b)
    assert found.no_latency is not None
    assert found.no_latency.code == code
    assert all(each.latency is None for each in found.pairs)
    assert f"Latency is not compared: {says}." in notes(found)
    assert "latency A to B" not in titles(found)
    assert found.counts == {"identical": 4}, "what was learnt is compared all the same"


def test_models_of_another_frame_are_not_timed_against_each_other(tmp_path: Path) -> None:
    a, b = benches(tmp_path, hand_plan(), with_cells(hand_plan(), threads=2))
    for bench in (a, b):
        timed(bench, dense=1.9, soft_moe=1.31, sparse_topk=2.44)
    found = compared(a, b)
    assert {each.verdict for each in found.pairs} == {"not comparable"}
    assert [each.latency for each in found.pairs] == [None] * 3


def test_a_latency_that_was_not_measured_has_its_reason(tmp_path: Path) -> None:
    a, b = benches(tmp_path, hand_plan())
    timed(a, dense=1.9, soft_moe=1.31, sparse_topk=2.44)
    for row in ROWS:
        b.fill(row, ROWS[row])
    why = Reason("not_timed", device=DEVICE)
    assert compared(a, b).no_latency == Reason("latency_missing", whys={"in B": why})
    assert compared(b, b).no_latency == Reason("latency_missing", whys={"in both": why})
