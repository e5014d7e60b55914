"""compare A B: rows matched by cell, verdicts that the seeds support, and no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from boards import BUDGET, Bench, hand_plan
from comparisons import BEFORE, LOSS, benches, compared, only, pair, results, shifted, with_code, with_seeds
from moebench.board import Reason
from moebench.board.compare import Pair, compare
from moebench.board.compare.formats import summary
from moebench.errors import UsageError


def codes(row: Pair) -> list[str]:
    return [reason.code for reason in row.reasons]


def test_a_row_that_lost_on_every_seed_is_worse(tmp_path: Path) -> None:
    """B - A has mean -0.0112, s^2 7.7e-6, SE 0.00124, df 4, t(97.5 %) 2.776: +-0.003445; t = 9.03, p = 0.00083."""
    found = pair(tmp_path, {"soft_moe": shifted(*LOSS)}, {"soft_moe": BEFORE})
    (row,) = found.pairs
    assert (row.verdict, row.seeds, row.reasons) == ("worse", 5, ())
    assert row.difference is not None
    assert (row.difference.value, row.difference.low, row.difference.high) == pytest.approx(
        (-0.0112, -0.0112 - 0.003445, -0.0112 + 0.003445), abs=1e-5
    )
    assert row.p_value == pytest.approx(0.00083, abs=1e-5)
    assert row.changed == ("code",)
    assert found.worse
    assert found.counts == {"worse": 1}


def test_the_same_gain_is_better_and_a_mixed_one_undecided(tmp_path: Path) -> None:
    gain = pair(tmp_path / "1", {"soft_moe": shifted(*(-each for each in LOSS))}, {"soft_moe": BEFORE})
    assert only(gain).verdict == "better"
    mixed = pair(tmp_path / "2", {"soft_moe": shifted(0.011, -0.008, 0.014, -0.009, 0.001)}, {"soft_moe": BEFORE})
    assert only(mixed).verdict == "undecided"
    assert not gain.worse
    assert not mixed.worse


def test_many_rows_are_not_worse_by_chance(tmp_path: Path) -> None:
    """p is 0.0079 alone (mean -0.0052, s 0.00236, t 4.93, df 4), and ten times that as the smallest of ten."""
    loss = shifted(-0.006, -0.002, -0.005, -0.0085, -0.0045)
    alone = pair(tmp_path / "1", {"soft_moe": loss}, {"soft_moe": BEFORE})
    assert only(alone).verdict == "worse"
    assert only(alone).p_value == pytest.approx(0.0079, abs=1e-4)
    others = {f"row_{n}": BEFORE for n in range(9)}
    still = {name: shifted(0.002, -0.002, 0.001, -0.001, 0.0005 * n) for n, name in enumerate(others)}
    among = pair(tmp_path / "2", {"soft_moe": loss, **still}, {"soft_moe": BEFORE, **others})
    assert only(alone).difference == only(among).difference
    assert only(among).p_value == pytest.approx(10 * (only(alone).p_value or 0))
    assert only(among).verdict == "undecided"


def test_the_same_runs_do_not_count_among_the_rows_that_are_tested(tmp_path: Path) -> None:
    plan = hand_plan(variants=["soft_moe", *(f"row_{n}" for n in range(9))], seeds=5)
    a, b = benches(tmp_path, plan, plan)
    for row in plan.suite.variants:
        a.fill(row, BEFORE)
        b.fill(row, shifted(-0.006, -0.002, -0.005, -0.0085, -0.0045) if row == "soft_moe" else BEFORE)
    found = compared(a, b)
    assert found.counts == {"worse": 1, "identical": 9}


def test_runs_that_diverge_now_are_named_though_the_seeds_decide_nothing(tmp_path: Path) -> None:
    """Two of five at the floor of 0.1: so large a spread makes no mean certain, and a reader must still know."""
    plan = hand_plan(variants=["soft_moe"], seeds=5)
    a, b = benches(tmp_path, plan, plan)
    a.fill("soft_moe", BEFORE)
    b.fill("soft_moe", BEFORE)
    for cell in b.group("soft_moe").final_cells(b.store.get)[:2]:
        kept = b.store.get(cell.identity)
        assert kept is not None
        b.put(cell, "soft_moe", status="diverged", reason="the loss was not finite.", counts=kept.counts)
    found = compared(a, b)
    assert only(found).verdict == "undecided"
    diverged = Reason("divergence_differs", a=0, of_a=5, b=2, of_b=5)
    assert only(found).reasons == (Reason("run_again"), diverged)
    assert only(compared(b, b)).reasons == (), "as many as before are no news"


@pytest.mark.parametrize(("by", "verdict"), [(-0.2, "better"), (0.2, "worse")])
def test_where_less_is_better_a_fall_is_better(tmp_path: Path, by: float, verdict: str) -> None:
    a, b = benches(tmp_path, hand_plan(variants=["soft_moe"], tasks=["norm"], seeds=5))
    for bench, moved in ((a, 0.0), (b, by)):
        bench.tune("soft_moe", task="norm")
        errors = [2.0 + moved + wobble for wobble in (0.01, 0.03, 0.02 + moved / 10, 0.05, 0.04)]
        bench.finish(
            "soft_moe", errors, task="norm", change=lambda f: f | {"scores": {"test_mse": f["scores"]["test_accuracy"]}}
        )
    found = compared(a, b)
    assert not found.higher_is_better
    assert found.pairs[0].verdict == verdict


def test_the_same_runs_are_identical_and_missing_and_new_rows_are_named(tmp_path: Path) -> None:
    a = Bench(tmp_path / "a", hand_plan(variants=["dense", "soft_moe", "sparse_topk"]))
    b = Bench(tmp_path / "b", hand_plan(variants=["dense", "soft_moe", "mine"]))
    for bench in (a, b):
        bench.fill("dense", (0.961, 0.972, 0.964), specialization=None)
    a.fill("soft_moe", (0.972, 0.981, 0.976))
    b.tune("soft_moe")
    a.fill("sparse_topk", (0.935, 0.951, 0.942))
    b.fill("mine", (0.935, 0.951, 0.942))
    found = compared(a, b)
    assert {each.row: each.verdict for each in found.pairs} == {
        "dense": "identical",
        "soft_moe": "missing",
        "sparse_topk": "missing",
        "mine": "new",
    }
    unfinished = Reason("incomplete", planned=7, failed=(), waiting=("final 0", "final 1", "final 2"))
    assert only(found).reasons == (Reason("in_side", side="B", reason=unfinished),)
    same = only(found, "dense")
    assert same.difference is not None
    assert (same.difference.value, same.difference.low, same.difference.high) == (0, 0, 0)
    assert not found.worse, "what is missing is said, and is no loss of quality"
    assert summary(found) == "1 identical, 2 missing, 1 new"


def test_the_same_cells_with_other_scores_are_compared_and_not_called_identical(tmp_path: Path) -> None:
    """Another torch or another machine changes no identity, and is what a person may want to hold to account."""
    plan = hand_plan(variants=["soft_moe"], seeds=5)
    a, b = benches(tmp_path, plan, plan)
    a.fill("soft_moe", BEFORE)
    b.fill("soft_moe", shifted(*LOSS), change=lambda f: f | {"provenance": {"versions": {"torch": "2.15.0"}}})
    (row,) = compared(a, b).pairs
    assert (row.verdict, codes(row)) == ("worse", ["run_again"])
    assert "torch: 2.14.1 to 2.15.0" in row.changed
    assert "code" not in row.changed


def test_a_change_of_code_that_changes_no_score_is_named(tmp_path: Path) -> None:
    found = pair(tmp_path, {"soft_moe": BEFORE}, {"soft_moe": BEFORE})
    assert (only(found).verdict, codes(only(found))) == ("undecided", ["same_scores"])


def test_the_same_difference_on_every_seed_is_no_certainty(tmp_path: Path) -> None:
    found = pair(tmp_path, {"soft_moe": (0.5,) * 5}, {"soft_moe": (0.6,) * 5})
    assert only(found).verdict == "undecided"
    assert codes(only(found)) == ["no_spread"]


def test_other_settings_chosen_by_tuning_are_compared_and_named(tmp_path: Path) -> None:
    plan = hand_plan(variants=["soft_moe"], seeds=5)
    a, b = benches(tmp_path, plan, plan)
    a.fill("soft_moe", BEFORE)
    b.tune("soft_moe", (0.90, 0.91, 0.99, 0.94))
    b.finish("soft_moe", shifted(*LOSS))
    (row,) = compared(a, b).pairs
    assert (row.verdict, row.changed) == ("worse", ("settings",))


def test_only_the_seeds_that_both_have_are_paired(tmp_path: Path) -> None:
    a, b = benches(
        tmp_path, hand_plan(variants=["soft_moe"], seeds=5), with_code(hand_plan(variants=["soft_moe"], seeds=3))
    )
    a.fill("soft_moe", BEFORE)
    b.fill("soft_moe", (0.951, 0.962, 0.955))
    (row,) = compared(a, b).pairs
    assert (row.seeds, row.reasons) == (3, (Reason("fewer_seeds", shared=3, a=5, b=3),))
    assert row.a is not None
    assert row.a.value == pytest.approx((0.961 + 0.972 + 0.964) / 3), "of the seeds that are compared"
    assert row.difference is not None
    assert row.difference.value == pytest.approx((-0.010 - 0.010 - 0.009) / 3)


def test_a_seed_is_paired_with_itself_and_not_with_the_one_in_its_place(tmp_path: Path) -> None:
    """A has seeds 0 to 4 and B 2 to 6: B - A is of A's last three and B's first three."""
    plan = hand_plan(variants=["soft_moe"], seeds=5)
    a, b = benches(tmp_path, with_seeds(plan), with_code(with_seeds(plan, first=2)))
    a.fill("soft_moe", BEFORE)
    b.fill("soft_moe", (0.963, 0.968, 0.965, 0.1, 0.1))
    (row,) = compared(a, b).pairs
    assert row.reasons == (Reason("fewer_seeds", shared=3, a=5, b=5),)
    assert row.difference is not None
    assert row.difference.value == pytest.approx((-0.001 - 0.002 - 0.001) / 3)


def test_one_seed_decides_nothing_and_none_is_no_pair(tmp_path: Path) -> None:
    plan = with_seeds(hand_plan(variants=["soft_moe"], seeds=2))
    a, b, c = (
        Bench(tmp_path / str(first), with_code(with_seeds(plan, first=first), f"code {first}")) for first in (0, 1, 2)
    )
    for bench, level in ((a, 0.9), (b, 0.1), (c, 0.1)):
        bench.fill("soft_moe", (level, level))
    (one,), (none,) = compared(a, b).pairs, compared(a, c).pairs
    assert one.verdict == "undecided"
    assert one.reasons == (Reason("one_seed"), Reason("fewer_seeds", shared=1, a=2, b=2))
    assert (none.verdict, codes(none), none.difference) == ("not comparable", ["no_shared_seed"], None)


def test_a_mean_over_tasks_and_each_task_beside_it(tmp_path: Path) -> None:
    """Seeds as in real plans, other ones on each task. Up by 0.031 / 3 on one task, down by 0.093 / 3 on the other."""
    a, b = benches(tmp_path, with_seeds(hand_plan(variants=["soft_moe"], tasks=["digits", "fashion_mnist"])))
    for bench, up, down in ((a, 0.0, 0.0), (b, 0.01, -0.03)):
        bench.fill("soft_moe", (0.90 + up, 0.91 + up, 0.92 + 1.1 * up), task="digits")
        bench.fill("soft_moe", (0.80 + down, 0.81 + down, 0.82 + 1.1 * down), task="fashion_mnist")
    (row,) = compared(a, b).pairs
    assert (row.verdict, row.seeds) == ("worse", 3)
    assert row.difference is not None
    assert row.difference.value == pytest.approx((0.031 - 0.093) / 3 / 2)
    assert {task: round(found.value, 4) for task, found in row.tasks.items()} == {
        "digits": 0.0103,
        "fashion_mnist": -0.031,
    }


def test_tasks_are_matched_by_name_whatever_their_order(tmp_path: Path) -> None:
    tasks = ["digits", "fashion_mnist"]
    a, b = (Bench(tmp_path / ts[0], hand_plan(variants=["soft_moe"], tasks=ts)) for ts in (tasks, tasks[::-1]))
    for bench in (a, b):
        bench.fill("soft_moe", (0.90, 0.91, 0.93), task="digits")
        bench.fill("soft_moe", (0.80, 0.82, 0.83), task="fashion_mnist")
    assert compared(a, b).counts == {"identical": 1}


def test_budgets_are_rows_of_their_own(tmp_path: Path) -> None:
    a, b = benches(tmp_path, hand_plan(variants=["soft_moe"], budgets=[BUDGET, 4 * BUDGET]))
    for bench, up in ((a, 0.0), (b, 0.01)):
        bench.fill("soft_moe", (0.90 + up, 0.91 + up, 0.92 + up * 1.2))
        bench.fill("soft_moe", (0.95, 0.96, 0.97), budget=4 * BUDGET)
    assert [(each.budget, each.verdict) for each in compared(a, b).pairs] == [
        (BUDGET, "better"),
        (4 * BUDGET, "undecided"),
    ]


def test_a_row_that_neither_finished_is_named_and_one_that_never_ran_is_not(tmp_path: Path) -> None:
    bench = Bench(tmp_path, hand_plan(variants=["dense", "soft_moe", "sparse_topk"]))
    bench.fill("dense", (0.961, 0.972, 0.964))
    bench.tune("soft_moe")
    found = compare(results(bench), results(bench))
    assert found.counts == {"identical": 1, "unfinished": 1}
    assert [each.facts["side"] for each in only(found).reasons] == ["A", "B"]


def test_a_row_that_cannot_run_any_more_says_why(tmp_path: Path) -> None:
    problem = "variant 'soft_moe' cannot be imported: no module 'gone'."
    rows = ["dense", "soft_moe"]
    a, b = benches(tmp_path, hand_plan(variants=rows), hand_plan(variants=rows, problems={"soft_moe": problem}))
    a.fill("soft_moe", (0.9, 0.91, 0.93))
    (row,) = compared(a, b).pairs
    assert (row.verdict, [each.text for each in row.reasons]) == ("missing", [f"in B: {problem.rstrip('.')}"])


def test_nothing_to_compare_is_wrong_use(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.tune("soft_moe")
    with pytest.raises(UsageError) as caught:
        compared(bench, bench)
    assert caught.value.code == "nothing-to-compare"
