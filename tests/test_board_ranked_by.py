"""A suite says which score ranks; the other one stands beside it."""

from __future__ import annotations

import dataclasses
import json
import re
from math import log
from pathlib import Path
from typing import Any

import pytest

from boards import Bench, hand_plan
from moebench.board import TEXTS, to_table, words
from moebench.board.compare.matching import match
from moebench.board.evidence import ResultSet
from moebench.board.model import Board
from moebench.errors import SuiteError, UnknownNameError
from moebench.plans.make import make_plan
from moebench.plans.plan import Plan
from moebench.suites.request import ask
from moebench.tasks import get_task

ACCURACIES = {"dense": (0.950, 0.952, 0.951), "soft_moe": (0.960, 0.962, 0.961)}
LOSSES = {"dense": (0.200, 0.203, 0.201), "soft_moe": (0.300, 0.302, 0.305)}


def ranked_by(plan: Plan, rank_by: str | None, **suite: Any) -> Plan:
    """The plan of a suite that ranks by another score."""
    groups = tuple(dataclasses.replace(group, rank_by=rank_by) for group in plan.groups)
    return dataclasses.replace(plan, suite=plan.suite.model_copy(update={"rank_by": rank_by, **suite}), groups=groups)


def bench_of(root: Path, rank_by: str | None, **suite: Any) -> Bench:
    """soft_moe has the better accuracy and the worse loss."""
    bench = Bench(root, plan=ranked_by(hand_plan(variants=["dense", "soft_moe"]), rank_by, **suite))
    for row, losses in LOSSES.items():
        bench.tune(row)
        left = iter(losses)

        def change(fields: dict[str, Any], left: Any = left) -> dict[str, Any]:
            return fields | {"scores": fields["scores"] | {"test_loss_nats": next(left)}}

        bench.finish(row, ACCURACIES[row], change=change)
    return bench


def board_of(root: Path, rank_by: str | None, **suite: Any) -> Board:
    return bench_of(root, rank_by, **suite).board()


def test_the_headline_ranks_unless_the_suite_says_otherwise(tmp_path: Path) -> None:
    board = board_of(tmp_path, None)
    assert [(e.variant, e.rank) for e in board.entries] == [("soft_moe", (1, 1)), ("dense", (2, 2))]
    assert (board.tasks[0].metric, board.tasks[0].metric_beside) == ("accuracy", "loss_nats")
    beside = board.entry("dense").score_beside
    assert beside is not None
    assert (beside.value, beside.unit) == (pytest.approx(0.604 / 3), "nats")


@pytest.mark.parametrize("rank_by", ["loss", "loss_nats"])
def test_by_loss_the_lower_is_better_and_accuracy_stands_beside(tmp_path: Path, rank_by: str) -> None:
    board = board_of(tmp_path, rank_by)
    assert [(e.variant, e.rank) for e in board.entries] == [("dense", (1, 1)), ("soft_moe", (2, 2))]
    soft = board.entry("soft_moe")
    assert soft.vs_dense is not None
    assert (soft.vs_dense.value, soft.vs_dense.unit) == (pytest.approx((0.907 - 0.604) / 3), "nats")
    assert soft.score_beside is not None
    assert soft.score_beside.value == pytest.approx(0.961)
    assert (board.tasks[0].metric, board.tasks[0].metric_beside) == ("loss_nats", "accuracy")
    assert board.tasks[0].floor == pytest.approx(log(10))


def test_the_other_score_is_in_page_json_and_markdown_and_not_in_the_terminal(tmp_path: Path) -> None:
    board = board_of(tmp_path, "loss")
    assert "lower is better" in words.how_ranked(board)
    (first, _) = json.loads(TEXTS["json"](board))["entries"]
    assert first["score_beside"]["value"] == pytest.approx(0.951)
    assert "| rank | variant | loss in nats | vs dense | accuracy | " in TEXTS["md"](board)
    assert re.search(r'data-col="score_beside" title="[^"]*">accuracy</th>', TEXTS["html"](board))
    assert "accuracy" not in to_table(board, 300)


def test_the_loss_selects_the_trial_where_it_ranks(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, "loss")
    (dense, _) = bench.plan.groups
    for cell, accuracy, loss in zip(dense.trial_cells, (0.9, 0.95, 0.93, 0.94), (0.4, 0.5, 0.3, 0.6), strict=True):
        bench.put(cell, "dense", scores={"validation_accuracy": accuracy, "validation_loss_nats": loss})
    assert dense.winner(bench.store.get) == 2
    assert dataclasses.replace(dense, rank_by=None).winner(bench.store.get) == 1


def test_a_diverged_run_counts_as_even_chances(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, "loss")
    cell = bench.group("soft_moe").final_cells(bench.store.get)[0]
    bench.put(cell, "soft_moe", status="diverged", reason="the loss is not finite")
    board = bench.board()
    assert board.entry("soft_moe").tasks[0].seeds[0] == pytest.approx(log(10))
    beside = board.entry("soft_moe").score_beside
    assert beside is not None
    assert beside.value == pytest.approx((0.1 + 0.962 + 0.961) / 3), "the floor of accuracy"


def test_a_run_without_the_other_score_leaves_it_out(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, None)
    cell = bench.group("soft_moe").final_cells(bench.store.get)[0]
    bench.put(cell, "soft_moe", scores={"test_accuracy": 0.96})
    assert bench.board().entry("soft_moe").score_beside is None
    assert bench.board().entry("soft_moe").representation is not None


def test_a_plan_keeps_it_and_a_plan_without_it_is_as_before(tmp_path: Path) -> None:
    plan = bench_of(tmp_path, "loss").plan
    again = Plan.from_json(json.loads(json.dumps(plan.to_json())))
    assert (again.suite, {group.rank_by for group in again.groups}) == (plan.suite, {"loss"})
    written = json.dumps(ranked_by(plan, None).to_json())
    assert "rank_by" not in written
    assert "smallest_difference" not in written


def test_result_sets_that_rank_by_other_scores_are_not_compared(tmp_path: Path) -> None:
    one, other = bench_of(tmp_path, None), ranked_by(bench_of(tmp_path, None).plan, "loss")
    sides = [ResultSet(tmp_path, plan, one.store.get) for plan in (one.plan, other)]
    reasons = {reason.code for found in match(*sides) for reason in found.reasons}
    assert reasons == {"settings_differ"}


SUITE = """
title = "Ranked by loss"
axis = "total"
budgets = [2_000]
seeds = 2
variants = ["dense"]
{key}

[[task]]
name = "digits"

[host]
name = "vit"
dim = 16
depth = 1
heads = 2
patch = 4

[training]
steps = 2
batch = 8
{lr}

{rows}
"""
TUNED = """
[tuning]
trials = 1
lr = { low = 1e-3, high = 3e-2, default = 1e-2 }
weight_decay = { low = 1e-3, high = 0.3, default = 0.05 }
"""
FIXED = """
[[row]]
name = "alone"
variant = "dense"
"""


def plan_of(root: Path, key: str) -> Plan:
    """As it is planned from a file."""
    path = root / "by-loss.toml"
    path.write_text(SUITE.format(key=key, lr="", rows=TUNED))
    return make_plan(ask(str(path), device="cpu").requests[0])


def test_the_suite_file_says_it(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, 'rank_by = "loss"')
    assert plan.groups[0].headline.name == "loss_nats"
    cells = [group.trial_cells for group in (plan.groups[0], plan_of(tmp_path, "").groups[0])]
    assert cells[0] == cells[1], "the same runs, read in another way"


def test_what_a_task_does_not_score_is_refused_when_it_is_planned(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError) as found:
        plan_of(tmp_path, 'rank_by = "mse"')
    assert (found.value.code, found.value.facts["known"]) == ("unknown-score", ["accuracy", "loss", "loss_nats"])
    with pytest.raises(UnknownNameError):
        get_task("norm").score_that_ranks("loss")
    with pytest.raises(SuiteError):
        get_task("noise").score_that_ranks("loss")


def test_a_floor_of_the_loss_is_the_mean_over_targets() -> None:
    assert get_task("digits").score_that_ranks("loss").floor == pytest.approx(log(10))


@pytest.mark.parametrize("key", ['rank_by = "loss"', "smallest_difference = 0.01"])
def test_only_a_suite_that_ranks_says_by_what(tmp_path: Path, key: str) -> None:
    path = tmp_path / "fixed.toml"
    fixed = SUITE.replace('variants = ["dense"]', "").format(
        key="{key}", lr="lr = 0.01\noptimiser = 'adam'", rows=FIXED
    )
    path.write_text(fixed.format(key=""))
    ask(str(path), device="cpu")
    path.write_text(fixed.format(key=key))
    with pytest.raises(SuiteError):
        ask(str(path), device="cpu")


def test_the_board_says_how_many_seeds_half_a_point_needs(tmp_path: Path) -> None:
    """Deviations 0.001 each, a difference of 0.005: five of them, which two seeds nearly find."""
    power = board_of(tmp_path, None).rungs[0].power
    assert power is not None
    assert (power.difference, power.pairs) == (0.005, 1)
    assert power.seeds == power.seeds_alone == 3


def test_of_a_loss_half_a_percent_of_denses_is_the_smallest_that_matters(tmp_path: Path) -> None:
    board = board_of(tmp_path, "loss")
    power = board.rungs[0].power
    assert power is not None
    assert power.difference == pytest.approx(0.005 * 0.604 / 3)
    named = board_of(tmp_path / "named", "loss", smallest_difference=0.1).rungs[0].power
    assert named is not None
    assert (named.difference, named.seeds) == (0.1, 2)


def test_power_is_in_page_json_and_markdown(tmp_path: Path) -> None:
    board = board_of(tmp_path, None)
    said = "0.5 points of accuracy need 3 seeds"
    assert said in TEXTS["md"](board)
    assert said in TEXTS["html"](board)
    assert json.loads(TEXTS["json"](board))["power"]["seeds"] == 3


def test_without_spread_or_with_one_seed_nothing_is_said_of_power(tmp_path: Path) -> None:
    bench = Bench(tmp_path, variants=["dense", "soft_moe"])
    for row in ("dense", "soft_moe"):
        bench.fill(row, (0.95, 0.95, 0.95))
    assert bench.board().rungs[0].power is None
    one = Bench(tmp_path / "one", variants=["dense"], seeds=1)
    one.fill("dense", (0.95,))
    assert one.board().rungs[0].power is None
    assert words.power(one.board(), one.board().rungs[0]) == ""
