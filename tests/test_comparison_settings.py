"""What is never mixed: another protocol, budget, data, training, effort or size, each refused in one sentence."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from boards import Bench, hand_plan
from comparisons import BEFORE, LOSS, benches, compared, shifted, with_cells
from moebench.board import Reason
from moebench.plans.plan import Plan


@pytest.mark.parametrize(
    ("changed", "differences"),
    [
        ({"protocol": "2"}, [("protocol", "1", "2")]),
        ({"data_digest": "0ther"}, [("data", "da7a", "0ther")]),
        ({"split": "other"}, [("split", "1078/359/360 by seed 0", "other")]),
        ({"host": {"name": "vit", "dim": 64, "depth": 3}}, [("host depth", "2", "3")]),
        ({"axis": "flops"}, [("axis", "total", "flops")]),
        ({"budget": 999}, [("budget", "264,000", "999")]),
        ({"batch": 128}, [("batch", "64", "128")]),
        ({"micro_batch": 16}, [("micro-batch", "none", "16")]),
        ({"precision": "bf16"}, [("precision", "fp32", "bf16")]),
        ({"steps": 500, "threads": 2}, [("steps", "400", "500"), ("threads", "1", "2")]),
    ],
)
def test_runs_with_other_settings_are_not_compared(
    tmp_path: Path, changed: dict[str, Any], differences: list[tuple[str, str, str]]
) -> None:
    plan = hand_plan(variants=["soft_moe"])
    a, b = benches(tmp_path, plan, with_cells(plan, **changed))
    for bench, level in ((a, 0.97), (b, 0.5)):
        bench.fill("soft_moe", (level, level + 0.01, level + 0.02))
    found = compared(a, b)
    (row,) = found.pairs
    assert (row.verdict, row.difference, row.seeds) == ("not comparable", None, 0)
    assert row.reasons == (Reason("settings_differ", differences=tuple(differences), place=""),)
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
    differs = Reason("settings_differ", differences=(("steps", "400", "9"),), place="fashion_mnist")
    assert compared(a, b).pairs[0].reasons == (differs,)


def test_other_tasks_are_not_compared(tmp_path: Path) -> None:
    a, b = benches(
        tmp_path, hand_plan(variants=["soft_moe"]), hand_plan(variants=["soft_moe"], tasks=["fashion_mnist"])
    )
    a.fill("soft_moe", (0.97, 0.98, 0.96))
    b.fill("soft_moe", (0.97, 0.98, 0.96), task="fashion_mnist")
    found = compared(a, b)
    assert found.pairs[0].verdict == "not comparable"
    assert found.pairs[0].reasons == (Reason("tasks_differ", a="digits", b="fashion_mnist"),)


def test_another_budget_is_missing_here_and_new_there(tmp_path: Path) -> None:
    a, b = benches(
        tmp_path, hand_plan(variants=["dense"], budgets=[1000]), hand_plan(variants=["dense"], budgets=[2000, 3000])
    )
    a.fill("dense", (0.9, 0.91, 0.93))
    b.fill("dense", (0.9, 0.91, 0.93))
    assert [(each.budget, each.verdict, each.reasons) for each in compared(a, b).pairs] == [
        (1000, "missing", (Reason("other_budgets", side="B", budgets="2,000, 3,000"),)),
        (2000, "new", (Reason("other_budgets", side="A", budgets="1,000"),)),
    ]


def with_tuning(plan: Plan, **changed: Any) -> Plan:
    tuning = plan.suite.tuning.model_copy(update=changed)
    return dataclasses.replace(plan, suite=plan.suite.model_copy(update={"tuning": tuning}))


RANGE = hand_plan().suite.tuning.lr.model_copy(update={"high": 0.1})


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        ({"trials": 20}, ("the number of trials", "4", "20")),
        ({"sampler": "tpe"}, ("the sampler", "random", "tpe")),
        ({"lr": RANGE}, ("the range of lr", "0.001 to 0.01 (default 0.003)", "0.001 to 0.1 (default 0.003)")),
        (
            {"weight_decay": RANGE},
            ("the range of weight_decay", "0.001 to 0.3 (default 0.05)", "0.001 to 0.1 (default 0.003)"),
        ),
    ],
)
def test_another_tuning_effort_is_not_compared(
    tmp_path: Path, changed: dict[str, Any], difference: tuple[str, str, str]
) -> None:
    """A row that was tuned five times as long is not a better row."""
    plan = hand_plan(variants=["soft_moe"], seeds=5)
    a, b = benches(tmp_path, plan, with_tuning(plan, **changed))
    a.fill("soft_moe", BEFORE)
    b.fill("soft_moe", shifted(*(-each for each in LOSS)))
    (row,) = compared(a, b).pairs
    assert (row.verdict, row.reasons) == ("not comparable", (Reason("effort_differs", differences=(difference,)),))


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
    off = Reason("off_budget", error=0.5, amount=264_000, axis="total")
    assert row.reasons == (Reason("size_in_side", side=side, reason=off),)
