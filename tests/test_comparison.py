"""compare A B: rows matched by cell, verdicts that the seeds support, and no more."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from boards import BUDGET, Bench, hand_plan, renamed, small_board
from moebench.cli.main import cli
from moebench.comparison import Comparison, compare
from moebench.comparison.formats import notes, summary, to_json, to_markdown
from moebench.comparison.model import Pair
from moebench.errors import ResultsError, UsageError
from moebench.planning.plan import Plan
from moebench.published.pack import NAME, to_lines
from moebench.published.sources import ResultSet

BEFORE = (0.961, 0.972, 0.964, 0.970, 0.966)


def results(bench: Bench) -> ResultSet:
    return ResultSet(bench.store.root, bench.plan, bench.store.get)


def with_code(plan: Plan, code: str) -> Plan:
    """The plan after a change of every variant's code: other identities, the same frame."""
    groups = tuple(dataclasses.replace(g, template=g.template | {"code_digest": code}) for g in plan.groups)
    return dataclasses.replace(plan, groups=groups)


def pair(
    tmp_path: Path, after: dict[str, tuple[float, ...]], before: dict[str, tuple[float, ...]], **options: Any
) -> Comparison:
    """A has the scores ``before``, B those ``after``, by another version of the code."""
    plan = hand_plan(variants=list(before), seeds=5, **options)
    a, b = Bench(tmp_path / "a", plan), Bench(tmp_path / "b", with_code(plan, "0ther"))
    for bench, scores in ((a, before), (b, after)):
        for row, accuracies in scores.items():
            bench.fill(row, accuracies)
    return compare(results(a), results(b))


def shifted(*by: float) -> tuple[float, ...]:
    return tuple(value + each for value, each in zip(BEFORE, by, strict=True))


def only(comparison: Comparison, row: str = "soft_moe") -> Pair:
    return next(each for each in comparison.pairs if each.row == row)


def test_a_row_that_lost_on_every_seed_is_worse(tmp_path: Path) -> None:
    """B - A is -0.011, -0.008, -0.014, -0.009, -0.014: mean -0.0112, s^2 7.7e-6, SE 0.00124, df 4, t(97.5 %) 2.776."""
    found = pair(tmp_path, {"soft_moe": shifted(-0.011, -0.008, -0.014, -0.009, -0.014)}, {"soft_moe": BEFORE})
    (row,) = found.pairs
    assert (row.verdict, row.seeds) == ("worse", 5)
    assert row.difference is not None
    assert (row.difference.value, row.difference.low, row.difference.high) == pytest.approx(
        (-0.0112, -0.0112 - 0.003445, -0.0112 + 0.003445), abs=1e-5
    )
    assert row.p_value == pytest.approx(0.00083, abs=1e-5)
    assert found.worse
    assert found.counts == {"worse": 1}


def test_the_same_gain_is_better_and_a_mixed_one_undecided(tmp_path: Path) -> None:
    gain = pair(tmp_path / "1", {"soft_moe": shifted(0.011, 0.008, 0.014, 0.009, 0.014)}, {"soft_moe": BEFORE})
    assert only(gain).verdict == "better"
    mixed = pair(tmp_path / "2", {"soft_moe": shifted(0.011, -0.008, 0.014, -0.009, 0.001)}, {"soft_moe": BEFORE})
    assert only(mixed).verdict == "undecided"
    assert not gain.worse
    assert not mixed.worse


def test_many_rows_are_not_worse_by_chance(tmp_path: Path) -> None:
    """p is 0.0089 alone (t 4.7, df 4), and 0.0089 x 6 = 0.053 as the smallest of six: Holm keeps one loser of many."""
    loss = shifted(-0.006, -0.002, -0.005, -0.0085, -0.0045)
    alone = pair(tmp_path / "1", {"soft_moe": loss}, {"soft_moe": BEFORE})
    assert only(alone).verdict == "worse"
    others = {f"row_{n}": BEFORE for n in range(9)}
    still = {name: shifted(0.002, -0.002, 0.001, -0.001, 0.0005 * n) for n, name in enumerate(others)}
    among = pair(tmp_path / "2", {"soft_moe": loss, **still}, {"soft_moe": BEFORE, **others})
    assert only(alone).difference == only(among).difference
    assert only(among).p_value == pytest.approx(10 * (only(alone).p_value or 0))
    assert only(among).verdict == "undecided"


def test_where_less_is_better_a_fall_is_better(tmp_path: Path) -> None:
    plan = hand_plan(variants=["soft_moe"], tasks=["norm"], seeds=5)
    a, b = Bench(tmp_path / "a", plan), Bench(tmp_path / "b", with_code(plan, "0ther"))
    for bench, by in ((a, 0.0), (b, -0.2)):
        bench.tune("soft_moe", task="norm")
        errors = [2.0 + by + wobble for wobble in (0.01, 0.03, 0.02 + by / 10, 0.05, 0.04)]
        bench.finish(
            "soft_moe", errors, task="norm", change=lambda f: f | {"scores": {"test_mse": f["scores"]["test_accuracy"]}}
        )
    found = compare(results(a), results(b))
    assert not found.higher_is_better
    assert found.pairs[0].verdict == "better"


def test_the_same_runs_are_identical_and_missing_and_new_rows_are_named(tmp_path: Path) -> None:
    a = Bench(tmp_path / "a", hand_plan(variants=["dense", "soft_moe", "sparse_topk"]))
    b = Bench(tmp_path / "b", hand_plan(variants=["dense", "soft_moe", "mine"]))
    for bench in (a, b):
        bench.fill("dense", (0.961, 0.972, 0.964), specialization=None)
    a.fill("soft_moe", (0.972, 0.981, 0.976))
    b.tune("soft_moe")
    a.fill("sparse_topk", (0.935, 0.951, 0.942))
    b.fill("mine", (0.935, 0.951, 0.942))
    found = compare(results(a), results(b))
    assert {each.row: each.verdict for each in found.pairs} == {
        "dense": "identical",
        "soft_moe": "missing",
        "sparse_topk": "missing",
        "mine": "new",
    }
    assert (
        only(found).reason
        == "in B it is incomplete, 3 of 7 runs have no result: not run yet: final 0, final 1, final 2"
    )
    assert not found.worse, "what is missing is said, and is no loss of quality"
    assert summary(found) == "1 identical, 2 missing, 1 new"


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"protocol": "2"}, "on digits A has protocol 1 and not 2"),
        ({"steps": 500, "threads": 2}, "on digits A has steps 400 and not 500, threads 1 and not 2"),
        ({"data_digest": "0ther"}, "on digits A has data da7a and not 0ther"),
        ({"budget": 999}, "on digits A has budget 264,000 and not 999"),
    ],
)
def test_another_frame_is_not_compared(tmp_path: Path, changed: dict[str, Any], says: str) -> None:
    a = Bench(tmp_path / "a", hand_plan(variants=["soft_moe"]))
    groups = tuple(dataclasses.replace(g, template=g.template | changed) for g in a.plan.groups)
    b = Bench(tmp_path / "b", dataclasses.replace(a.plan, groups=groups))
    for bench, level in ((a, 0.97), (b, 0.5)):
        bench.fill("soft_moe", (level, level + 0.01, level + 0.02))
    found = compare(results(a), results(b))
    assert (found.pairs[0].verdict, found.pairs[0].reason) == ("not comparable", says)
    assert found.pairs[0].difference is None
    assert not found.worse


def test_other_tasks_are_not_compared(tmp_path: Path) -> None:
    a = Bench(tmp_path / "a", hand_plan(variants=["soft_moe"]))
    b = Bench(tmp_path / "b", hand_plan(variants=["soft_moe"], tasks=["fashion_mnist"]))
    a.fill("soft_moe", (0.97, 0.98, 0.96))
    b.fill("soft_moe", (0.97, 0.98, 0.96), task="fashion_mnist")
    found = compare(results(a), results(b))
    assert found.pairs[0].reason == "A has the tasks digits and B fashion_mnist"


def test_only_the_seeds_that_both_have_are_paired(tmp_path: Path) -> None:
    a = Bench(tmp_path / "a", hand_plan(variants=["soft_moe"], seeds=5))
    b = Bench(tmp_path / "b", with_code(hand_plan(variants=["soft_moe"], seeds=3), "0ther"))
    a.fill("soft_moe", BEFORE)
    b.fill("soft_moe", (0.951, 0.962, 0.955))
    (row,) = compare(results(a), results(b)).pairs
    assert (row.seeds, row.reason) == (3, "3 seeds are in both, of 5 in A and 3 in B")
    assert row.a is not None
    assert row.a.value == pytest.approx((0.961 + 0.972 + 0.964) / 3), "of the seeds that are compared"
    assert row.difference is not None
    assert row.difference.value == pytest.approx((-0.010 - 0.010 - 0.009) / 3)


def test_one_seed_decides_nothing(tmp_path: Path) -> None:
    plan = hand_plan(variants=["soft_moe"], seeds=1)
    a, b = Bench(tmp_path / "a", plan), Bench(tmp_path / "b", with_code(plan, "0ther"))
    a.fill("soft_moe", (0.9,))
    b.fill("soft_moe", (0.1,))
    (row,) = compare(results(a), results(b)).pairs
    assert (row.verdict, row.reason) == ("undecided", "the seeds show no spread, or there is one")


def test_a_mean_over_tasks_and_each_task_beside_it(tmp_path: Path) -> None:
    """Up by 0.01 on one task and down by 0.03 on the other: the mean falls by 0.01."""
    plan = hand_plan(variants=["soft_moe"], tasks=["digits", "fashion_mnist"])
    a, b = Bench(tmp_path / "a", plan), Bench(tmp_path / "b", with_code(plan, "0ther"))
    for bench, up, down in ((a, 0.0, 0.0), (b, 0.01, -0.03)):
        bench.fill("soft_moe", (0.90 + up, 0.91 + up, 0.92 + 1.1 * up), task="digits")
        bench.fill("soft_moe", (0.80 + down, 0.81 + down, 0.82 + 1.1 * down), task="fashion_mnist")
    (row,) = compare(results(a), results(b)).pairs
    assert row.difference is not None
    assert row.difference.value == pytest.approx((0.031 - 0.093) / 3 / 2)
    assert [(t.task, round(t.value.value, 4)) for t in row.tasks] == [("digits", 0.0103), ("fashion_mnist", -0.031)]
    assert "| digits | fashion\\_mnist |".replace("\\", "") in to_markdown(compare(results(a), results(b)))


def test_latency_is_compared_on_one_device(tmp_path: Path) -> None:
    a, b = small_board(tmp_path / "a"), Bench(tmp_path / "b", references=[("random_router", "frozen random router")])
    for row in ("dense", "soft_moe", "sparse_topk", "random_router"):
        b.fill(row, (0.96, 0.97, 0.965), specialization=None)
    b.time({"dense": 1.9, "soft_moe": 1.6, "sparse_topk": 1.0, "random_router": 2.4})
    found = compare(results(a), results(b))
    assert {each.row: each.speed for each in found.pairs} == {
        "dense": "undecided",
        "soft_moe": "slower",
        "sparse_topk": "faster",
        "random_router": "undecided",
    }
    assert found.no_latency == ""
    cells = {
        line.split(" | ")[1]: line.split(" | ")[-1] for line in to_markdown(found).splitlines() if " ms to " in line
    }
    assert cells["soft_moe"] == "1.32 ms to 1.62 ms: slower |"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"device": {"name": "another"}}, "A was measured on cpu (a test's processor) and B on another"),
        ({"batch": 7}, "A was measured at batch 64 and B at batch 7"),
    ],
)
def test_latency_across_devices_and_batches_is_refused(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    a, b = small_board(tmp_path / "a"), small_board(tmp_path / "b")
    if "device" in change:
        b.plan = dataclasses.replace(b.plan, device=b.plan.device | change["device"])
    else:
        latency = b.plan.suite.latency.model_copy(update=change)
        b.plan = dataclasses.replace(b.plan, suite=b.plan.suite.model_copy(update={"latency": latency}))
    found = compare(results(a), results(b))
    assert found.no_latency == f"Latency is not compared: {says}"
    assert all(each.latency is None for each in found.pairs)
    assert f"Latency is not compared: {says}." in notes(found)


def test_budgets_are_rows_of_their_own(tmp_path: Path) -> None:
    plan = hand_plan(variants=["soft_moe"], budgets=[BUDGET, 4 * BUDGET])
    a, b = Bench(tmp_path / "a", plan), Bench(tmp_path / "b", with_code(plan, "0ther"))
    for bench, up in ((a, 0.0), (b, 0.01)):
        bench.fill("soft_moe", (0.90 + up, 0.91 + up, 0.92 + up))
        bench.fill("soft_moe", (0.95, 0.96, 0.97), budget=4 * BUDGET)
    found = compare(results(a), results(b))
    assert [(each.budget, each.verdict) for each in found.pairs] == [(BUDGET, "undecided"), (4 * BUDGET, "undecided")]
    assert "| budget |" in to_markdown(found)


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "", "a|b`c", "\u202eevil", "x" * 300])
def test_a_hostile_name_breaks_no_format(tmp_path: Path, name: str) -> None:
    bench = small_board(tmp_path)
    there = ResultSet(bench.store.root, renamed(bench, "soft_moe", name), bench.store.get)
    found = compare(there, there)
    text = to_markdown(found)
    assert "<script" not in text
    assert "\u202e" not in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in rows}) == 1
    assert json.loads(to_json(found))["pairs"][1]["row"] == name


def publish(bench: Bench, directory: Path) -> Path:
    directory.mkdir(parents=True)
    (directory / NAME).write_text(to_lines(bench.plan, bench.store.records()))
    return directory


def call(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli, ["compare", *words], standalone_mode=False)
    if done.exception:
        raise done.exception
    return done.return_value, done.output


def test_the_command_ends_with_one_only_if_something_is_worse(tmp_path: Path) -> None:
    plan = hand_plan(variants=["soft_moe"], seeds=5)
    a, b = Bench(tmp_path / "a", plan), Bench(tmp_path / "b", with_code(plan, "0ther"))
    a.fill("soft_moe", BEFORE)
    b.fill("soft_moe", shifted(-0.011, -0.008, -0.014, -0.009, -0.014))
    first, second = (str(publish(bench, tmp_path / name / "p")) for bench, name in ((a, "a"), (b, "b")))
    status, table = call(first, second)
    assert status == 1
    assert "tiny: 1 worse" in table
    assert call(second, first)[0] == 0
    assert call(first, first)[0] == 0
    status, text = call(first, second, "--format", "json")
    assert (status, json.loads(text)["counts"]) == (1, {"worse": 1})
    assert call(first, second, "--format", "md")[1].startswith("### tiny: 1 worse")


def test_wrong_use_is_one_sentence(tmp_path: Path) -> None:
    bench = small_board(tmp_path / "a")
    there = str(publish(bench, tmp_path / "p"))
    with pytest.raises(ResultsError, match="no directory"):
        call(there, str(tmp_path / "none"))
    with pytest.raises(ResultsError, match=r"holds no records\.jsonl"):
        call(there, str(tmp_path))
    with pytest.raises(UsageError, match="holds suite 'tiny', not 'quick'"):
        call(there, there, "--suite", "quick")
    empty = str(publish(Bench(tmp_path / "e"), tmp_path / "e" / "p"))
    with pytest.raises(UsageError, match="has a row with a result on every seed and task"):
        call(empty, empty)


def test_it_imports_neither_torch_nor_mlflow(tmp_path: Path) -> None:
    there = str(publish(small_board(tmp_path / "a"), tmp_path / "p"))
    code = (
        "import sys; from moebench.cli.main import cli\n"
        f"cli.main(['compare', {there!r}, {there!r}], standalone_mode=False)\n"
        "sys.exit(bool({'torch', 'mlflow'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
