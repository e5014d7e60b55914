"""What is never mixed: another protocol, budget, data, training, effort or size, each refused in one sentence."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from boards import Bench, hand_plan
from comparisons import BEFORE, LOSS, benches, compared, shifted, with_cells
from moebench.planning.plan import Plan


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"protocol": "2"}, "protocol is 1 in A and 2 in B"),
        ({"data_digest": "0ther"}, "data is da7a in A and 0ther in B"),
        ({"split": "other"}, "split is 1078/359/360 by seed 0 in A and other in B"),
        ({"host": {"name": "vit", "dim": 64, "depth": 3}}, "host depth is 2 in A and 3 in B"),
        ({"axis": "flops"}, "axis is total in A and flops in B"),
        ({"budget": 999}, "budget is 264,000 in A and 999 in B"),
        ({"batch": 128}, "batch is 64 in A and 128 in B"),
        ({"micro_batch": 16}, "micro-batch is none in A and 16 in B"),
        ({"precision": "bf16"}, "precision is fp32 in A and bf16 in B"),
        ({"steps": 500, "threads": 2}, "steps is 400 in A and 500 in B, threads is 1 in A and 2 in B"),
    ],
)
def test_another_frame_is_not_compared(tmp_path: Path, changed: dict[str, Any], says: str) -> None:
    plan = hand_plan(variants=["soft_moe"])
    a, b = benches(tmp_path, plan, with_cells(plan, **changed))
    for bench, level in ((a, 0.97), (b, 0.5)):
        bench.fill("soft_moe", (level, level + 0.01, level + 0.02))
    found = compared(a, b)
    (row,) = found.pairs
    assert (row.verdict, row.reason, row.difference, row.seeds) == ("not comparable", says, None, 0)
    assert not found.worse


def test_of_several_tasks_the_one_that_differs_is_named(tmp_path: Path) -> None:
    plan = hand_plan(variants=["soft_moe"], tasks=["digits", "fashion_mnist"])
    groups = tuple(
        dataclasses.replace(g, template=g.template | {"steps": 9}) if g.task == "fashion_mnist" else g
        for g in plan.groups
    )
    a, b = benches(tmp_path, plan, dataclasses.replace(plan, groups=groups))
    for bench in (a, b):
        for task in plan.suite.task_names:
            bench.fill("soft_moe", (0.9, 0.91, 0.93), task=task)
    assert compared(a, b).pairs[0].reason == "on fashion_mnist, steps is 400 in A and 9 in B"


def test_other_tasks_are_not_compared(tmp_path: Path) -> None:
    a, b = benches(
        tmp_path, hand_plan(variants=["soft_moe"]), hand_plan(variants=["soft_moe"], tasks=["fashion_mnist"])
    )
    a.fill("soft_moe", (0.97, 0.98, 0.96))
    b.fill("soft_moe", (0.97, 0.98, 0.96), task="fashion_mnist")
    found = compared(a, b)
    assert (found.pairs[0].verdict, found.pairs[0].reason) == (
        "not comparable",
        "tasks are digits in A and fashion_mnist in B",
    )


def test_another_rung_of_the_ladder_is_missing_here_and_new_there(tmp_path: Path) -> None:
    a, b = benches(
        tmp_path, hand_plan(variants=["dense"], budgets=[1000]), hand_plan(variants=["dense"], budgets=[2000, 3000])
    )
    a.fill("dense", (0.9, 0.91, 0.93))
    b.fill("dense", (0.9, 0.91, 0.93))
    assert [(each.budget, each.verdict, each.reason) for each in compared(a, b).pairs] == [
        (1000, "missing", "B has the budget 2,000, 3,000"),
        (2000, "new", "A has the budget 1,000"),
    ]


def with_tuning(plan: Plan, **changed: Any) -> Plan:
    tuning = plan.suite.tuning.model_copy(update=changed)
    return dataclasses.replace(plan, suite=plan.suite.model_copy(update={"tuning": tuning}))


RANGE = hand_plan().suite.tuning.lr.model_copy(update={"high": 0.1})


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"trials": 20}, "the number of trials is 4 in A and 20 in B"),
        ({"sampler": "tpe"}, "the sampler is random in A and tpe in B"),
        ({"lr": RANGE}, "the range of lr is 0.001 to 0.01 (default 0.003) in A and 0.001 to 0.1 (default 0.003) in B"),
        (
            {"weight_decay": RANGE},
            "the range of weight_decay is 0.001 to 0.3 (default 0.05) in A and 0.001 to 0.1 (default 0.003) in B",
        ),
    ],
)
def test_another_tuning_effort_is_not_compared(tmp_path: Path, changed: dict[str, Any], says: str) -> None:
    """A row that was tuned five times as long is not a better row."""
    plan = hand_plan(variants=["soft_moe"], seeds=5)
    a, b = benches(tmp_path, plan, with_tuning(plan, **changed))
    a.fill("soft_moe", BEFORE)
    b.fill("soft_moe", shifted(*(-each for each in LOSS)))
    (row,) = compared(a, b).pairs
    assert (row.verdict, row.reason) == ("not comparable", says)


@pytest.mark.parametrize("side", ["A", "B"])
def test_a_row_that_misses_its_budget_is_not_compared(tmp_path: Path, side: str) -> None:
    """Half as many parameters more are no better layer."""
    plan = hand_plan(variants=["soft_moe"], seeds=5)
    a, b = benches(tmp_path, plan)
    large: Bench = a if side == "A" else b
    for bench, scores in ((a, BEFORE), (b, shifted(*LOSS))):
        error = 0.5 if bench is large else 0.001
        bench.fill("soft_moe", scores, change=lambda f, e=error: f | {"counts": f["counts"] | {"budget_error": e}})
    (row,) = compared(a, b).pairs
    assert row.verdict == "not comparable"
    assert row.reason == f"in {side} its expert layers are 50.0% over the budget of 264,000 parameters"
