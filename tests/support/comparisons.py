"""Two result sets made by hand, in real stores and real packs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from boards import Bench, hand_plan
from moebench.board import ResultSet
from moebench.board.compare import Comparison, Pair, compare
from moebench.plans.plan import Plan
from moebench.publish.pack import NAME, to_lines
from moebench.training.seeds import derive_seed

BEFORE = (0.961, 0.972, 0.964, 0.970, 0.966)
LOSS = (-0.011, -0.008, -0.014, -0.009, -0.014)
"""B - A of a row that lost on every seed: mean -0.0112, s^2 7.7e-6, SE 0.00124, df 4."""


def shifted(*by: float) -> tuple[float, ...]:
    return tuple(value + each for value, each in zip(BEFORE, by, strict=True))


def results(bench: Bench) -> ResultSet:
    return ResultSet(bench.store.root, bench.plan, bench.store.get)


def with_cells(plan: Plan, **changed: Any) -> Plan:
    """The plan with other values in the template of every cell."""
    groups = tuple(dataclasses.replace(g, template=g.template | changed) for g in plan.groups)
    return dataclasses.replace(plan, groups=groups)


def with_code(plan: Plan, code: str = "0ther") -> Plan:
    """The plan after a change of every variant's code: other identities, the same frame."""
    return with_cells(plan, code_digest=code)


def with_seeds(plan: Plan, first: int = 0) -> Plan:
    """The plan with final seeds as ``make_plan`` derives them, other ones for each task, from index ``first`` on."""
    groups = tuple(
        dataclasses.replace(
            g, final_seeds=tuple(derive_seed(g.task, "final", first + i) for i in range(len(g.final_seeds)))
        )
        for g in plan.groups
    )
    return dataclasses.replace(plan, groups=groups)


def benches(tmp_path: Path, plan: Plan, plan_b: Plan | None = None) -> tuple[Bench, Bench]:
    """A, and B by another version of the code unless it has a plan of its own."""
    return Bench(tmp_path / "a", plan), Bench(tmp_path / "b", plan_b or with_code(plan))


def compared(a: Bench, b: Bench) -> Comparison:
    return compare(results(a), results(b))


def pair(
    tmp_path: Path, after: dict[str, tuple[float, ...]], before: dict[str, tuple[float, ...]], **options: Any
) -> Comparison:
    """A has the scores ``before``, B those ``after``, by another version of the code."""
    a, b = benches(tmp_path, hand_plan(variants=list(before), seeds=5, **options))
    for bench, scores in ((a, before), (b, after)):
        for row, accuracies in scores.items():
            bench.fill(row, accuracies)
    return compared(a, b)


def only(comparison: Comparison, row: str = "soft_moe") -> Pair:
    (found,) = (each for each in comparison.pairs if each.row == row)
    return found


def publish(bench: Bench, directory: Path) -> Path:
    directory.mkdir(parents=True)
    (directory / NAME).write_text(to_lines(bench.plan, bench.store.records()), encoding="utf-8")
    return directory


def documented(tmp_path: Path) -> Comparison:
    """The example of docs/compare.md, with one row of each common verdict; its accuracies are invented."""
    rows = ("dense", "soft_moe", "sparse_topk", "expert_choice", "mine")
    plan = hand_plan(variants=rows, seeds=5)
    changed = ("soft_moe", "sparse_topk")
    groups = tuple(
        dataclasses.replace(g, template=g.template | {"code_digest": "0ther"}) if g.row in changed else g
        for g in plan.groups
    )
    a, b = benches(tmp_path, hand_plan(variants=rows[:4], seeds=5), dataclasses.replace(plan, groups=groups))
    for bench in (a, b):
        bench.fill("dense", BEFORE)
    a.fill("soft_moe", shifted(*(-each for each in LOSS)))
    b.fill("soft_moe", BEFORE)
    a.fill("sparse_topk", shifted(-0.003, 0.001, -0.006, 0.003, -0.002))
    b.fill("sparse_topk", shifted(-0.001, -0.002, -0.004, 0.004, 0.002))
    a.fill("expert_choice", shifted(0.002, 0.001, 0.003, 0.0, 0.004))
    b.tune("expert_choice")
    b.fill("mine", shifted(0.004, 0.003, 0.006, 0.001, 0.002))
    a.time({"dense": 1.9, "soft_moe": 1.31, "sparse_topk": 2.44, "expert_choice": 2.2})
    b.time({"dense": 1.9, "soft_moe": 1.6, "sparse_topk": 2.41, "mine": 2.0})
    return dataclasses.replace(compared(a, b), suite="quick", a="results-main", b="results")
