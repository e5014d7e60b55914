"""Who is ranked, where, and the one reason of everyone else."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from boards import BUDGET, Bench, small_board
from moebench.board import TEXTS, to_table, words
from moebench.board.model import Board
from moebench.board.reasons import Reason
from moebench.board.rules import BUDGET_TOLERANCE


def ranks(board: Board) -> dict[str, tuple[int, int] | None]:
    return {entry.variant: entry.rank for entry in board.entries}


def test_clearly_different_rows_have_ranks_of_their_own(tmp_path: Path) -> None:
    board = small_board(tmp_path).board()
    assert ranks(board) == {"soft_moe": (1, 1), "dense": (2, 2), "sparse_topk": (3, 3), "random_router": None}
    assert list(ranks(board)) == ["soft_moe", "dense", "sparse_topk", "random_router"], "the better row first"


def test_rows_that_do_not_differ_significantly_share_their_ranks(tmp_path: Path) -> None:
    bench = Bench(tmp_path, variants=["dense", "soft_moe"])
    bench.fill("dense", (0.95, 0.97, 0.96))
    bench.fill("soft_moe", (0.97, 0.96, 0.961))
    board = bench.board()
    assert ranks(board) == {"soft_moe": (1, 2), "dense": (1, 2)}
    assert [entry.variant for entry in board.entries] == ["soft_moe", "dense"]


def test_holm_is_taken_over_ranked_rows_only(tmp_path: Path) -> None:
    """p = 0.012 for the one pair: clear alone (0.05), not among the ten pairs of five rows (0.005)."""
    rows = ["dense", "soft_moe", "sparse_topk", "a", "b"]
    bench = Bench(tmp_path, variants=rows[:2], references=[(name, "a reference") for name in rows[2:]])
    bench.fill("dense", (0.950, 0.952, 0.954))
    bench.fill("soft_moe", (0.960, 0.965, 0.963))
    for name in rows[2:]:
        bench.fill(name, (0.951, 0.953, 0.952))
    assert ranks(bench.board())["soft_moe"] == (1, 1)

    everyone = Bench(tmp_path / "all", variants=rows)
    for name in rows:
        scores = {"dense": (0.950, 0.952, 0.954), "soft_moe": (0.960, 0.965, 0.963)}
        everyone.fill(name, scores.get(name, (0.951, 0.953, 0.952)))
    assert ranks(everyone.board())["soft_moe"] != (1, 1)


def test_a_reference_row_never_takes_a_rank_even_when_it_is_best(tmp_path: Path) -> None:
    bench = Bench(tmp_path, variants=["dense"], references=[("random_router", "frozen random router")])
    bench.fill("dense", (0.90, 0.91, 0.92))
    bench.fill("random_router", (0.97, 0.981, 0.99))
    board = bench.board()
    assert ranks(board) == {"dense": (1, 1), "random_router": None}
    assert board.entry("random_router").reason == Reason("reference", note="frozen random router")
    assert board.entry("random_router").vs_dense is not None


def test_reference_rows_come_last_even_before_rows_that_a_person_added(tmp_path: Path) -> None:
    bench = Bench(tmp_path, variants=["dense", "mine"], references=[("random_router", "frozen random router")])
    bench.plan = dataclasses.replace(bench.plan, rows=tuple(reversed(bench.plan.rows)))
    bench.fill("dense", (0.90, 0.91, 0.92))
    assert [entry.variant for entry in bench.board().entries] == ["dense", "mine", "random_router"]


def test_specialization_and_latency_do_not_touch_the_ranks(tmp_path: Path) -> None:
    slow = small_board(tmp_path / "a")
    before = ranks(slow.board())
    other = Bench(tmp_path / "b", references=[("random_router", "frozen random router")])
    other.fill("dense", (0.965, 0.967, 0.965), specialization=None)
    other.fill("soft_moe", (0.975, 0.977, 0.977), specialization=0.01)
    other.fill("sparse_topk", (0.942, 0.944, 0.942), specialization=0.99)
    assert {**ranks(other.board()), "random_router": None} == before


def test_a_row_that_never_ran_says_so(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.fill("dense", (0.95, 0.97, 0.96))
    entry = bench.board().entry("soft_moe")
    assert (entry.rank, entry.reason, entry.seeds, entry.trials) == (None, Reason("not_run"), 0, 0)
    assert entry.representation is None
    assert entry.representation_reason == Reason("not_run")
    assert entry.tasks[0].status == "not_run"


def test_a_failed_trial_is_named_with_its_reason(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.fill("dense", (0.95, 0.97, 0.96))
    bench.tune("soft_moe", (0.9, 0.95))
    trial = bench.group("soft_moe").trial_cells[2]
    bench.put(trial, "soft_moe", status="error", reason="ValueError: heads must divide\n  the width.")
    entry = bench.board().entry("soft_moe")
    assert entry.reason == Reason(
        "incomplete",
        planned=7,
        failed=(("trial 2", "error", "ValueError: heads must divide\n  the width."),),
        waiting=("trial 3", "final 0", "final 1", "final 2"),
    )
    assert entry.rank is None
    assert entry.trials == 2
    assert entry.tasks[0].status == "error"


def test_a_missing_seed_keeps_a_row_from_its_rank_and_its_mean(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.fill("dense", (0.95, 0.97, 0.96))
    bench.fill("soft_moe", (0.99, 0.99, 0.98))
    cell = bench.group("soft_moe").final_cells(bench.store.get)[2]
    bench.put(cell, "soft_moe", status="timeout", reason="it ran longer than 60 seconds.")
    entry = bench.board().entry("soft_moe")
    assert entry.rank is None
    assert entry.representation is None
    assert entry.seeds == 2
    late = ("final 2", "timeout", "it ran longer than 60 seconds.")
    assert entry.reason == Reason("incomplete", planned=7, failed=(late,), waiting=())


def test_more_failures_than_a_sentence_can_hold_are_counted(tmp_path: Path) -> None:
    bench = Bench(tmp_path, seeds=8)
    bench.tune("soft_moe")
    for cell in bench.group("soft_moe").final_cells(bench.store.get)[:6]:
        bench.put(cell, "soft_moe", status="oom", reason="out of memory.")
    reason = bench.board().entry("soft_moe").reason
    assert reason is not None
    assert (len(reason.facts["failed"]), reason.facts["waiting"]) == (6, ("final 6", "final 7"))
    assert "final 3: oom; 2 more failed; not run yet: final 6, final 7" in reason.text


def test_a_done_run_without_the_score_does_not_count(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.fill("dense", (0.95, 0.97, 0.96))

    def lacking(fields: dict) -> dict:
        return {**fields, "scores": {**fields["scores"], "test_accuracy": None}}

    bench.fill("soft_moe", (0.9, 0.9, 0.9), change=lacking)
    entry = bench.board().entry("soft_moe")
    assert entry.reason is not None
    assert entry.reason.facts["failed"][0] == ("final 0", "error", "its record lacks test_accuracy")
    assert entry.tasks[0].status == "error"


def test_a_plugin_that_cannot_be_used_is_a_row_with_its_problem(tmp_path: Path) -> None:
    problem = "variant 'soft_moe' cannot be imported: No module named 'tutel'."
    entry = Bench(tmp_path, problems={"soft_moe": problem}).board().entry("soft_moe")
    assert entry.reason == Reason("cannot_run", problem=problem)
    assert entry.rank is None
    assert entry.tasks[0].status == "not_installed"


def test_a_task_that_cannot_be_planned_leaves_the_row_without_a_rank(tmp_path: Path) -> None:
    problem = "soft_moe: no size is within 1 % of 264,000"
    bench = Bench(tmp_path, tasks=["digits", "fashion_mnist"], group_problems={("soft_moe", "fashion_mnist"): problem})
    for task in ("digits", "fashion_mnist"):
        bench.fill("dense", (0.95, 0.97, 0.96), task=task)
    bench.fill("soft_moe", (0.97, 0.98, 0.96))
    entry = bench.board().entry("soft_moe")
    assert entry.reason == Reason("cannot_be_planned", problem=problem, on_task="fashion_mnist")
    assert (entry.rank, entry.representation, entry.vs_dense) == (None, None, None)
    assert [task.status for task in entry.tasks] == ["done", "over_budget"]
    assert entry.tasks[0].score is not None


def test_a_missing_task_names_the_task_of_each_missing_run(tmp_path: Path) -> None:
    bench = Bench(tmp_path, tasks=["digits", "fashion_mnist"], trials=1, seeds=1)
    bench.fill("dense", (0.95,))
    missing = ("fashion_mnist trial 0", "fashion_mnist final 0")
    assert bench.board().entry("dense").reason == Reason("incomplete", planned=4, failed=(), waiting=missing)


@pytest.mark.parametrize(("error", "ranked"), [(0.0099, True), (-0.0099, True), (0.023, False), (-0.011, False)])
def test_a_row_off_its_budget_is_shown_without_a_rank(tmp_path: Path, error: float, ranked: bool) -> None:
    bench = Bench(tmp_path)
    bench.fill("dense", (0.95, 0.97, 0.96))

    def off(fields: dict) -> dict:
        return {**fields, "counts": {**fields["counts"], "budget_error": error}}

    bench.fill("soft_moe", (0.97, 0.98, 0.96), change=off)
    entry = bench.board().entry("soft_moe")
    assert (entry.rank is not None) == ranked
    assert entry.representation is not None
    if not ranked:
        assert entry.reason == Reason("off_budget", error=error, amount=BUDGET, axis="total")


def test_one_record_that_hides_its_size_is_enough(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.fill("soft_moe", (0.97, 0.98, 0.96))
    cell = bench.group("soft_moe").final_cells(bench.store.get)[2]
    bench.put(cell, "soft_moe", scores={"test_accuracy": 0.96})
    assert bench.board().entry("soft_moe").reason == Reason("size_unknown")


def test_the_board_and_the_solver_mean_the_same_one_percent() -> None:
    from moebench.budgets import TOLERANCE

    assert BUDGET_TOLERANCE == TOLERANCE


def test_a_diverged_seed_counts_as_the_floor_and_is_flagged(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.fill("dense", (0.95, 0.97, 0.96))
    bench.fill("soft_moe", (0.97, 0.98, 0.96))
    cell = bench.group("soft_moe").final_cells(bench.store.get)[1]
    counts = {"counts": {"budget_error": 0.0, "total_params": 1}}
    bench.put(cell, "soft_moe", status="diverged", reason="the loss was not finite.", **counts)
    entry = bench.board().entry("soft_moe")
    assert entry.rank is not None
    assert entry.reason is None
    assert entry.tasks[0].status == "diverged"
    assert entry.tasks[0].seeds == (0.97, 0.1, 0.96)
    assert entry.representation is not None
    assert entry.representation.value == pytest.approx((0.97 + 0.1 + 0.96) / 3)
    assert entry.flags == (Reason("diverged", seed=1, floor=0.1),)


def test_another_protocol_finds_none_of_these_records(tmp_path: Path) -> None:
    bench = small_board(tmp_path)
    groups = [dataclasses.replace(g, template=g.template | {"protocol": "2"}) for g in bench.plan.groups]
    bench.plan = dataclasses.replace(bench.plan, protocol="2", groups=tuple(groups))
    board = bench.board()
    assert board.protocol == "2"
    assert [entry.reason for entry in board.entries] == [Reason("not_run")] * len(board.entries)


def test_a_row_trained_on_another_device_is_flagged(tmp_path: Path) -> None:
    bench = Bench(tmp_path, variants=["dense"])
    bench.fill("dense", (0.95, 0.97, 0.96), change=lambda f: {**f, "provenance": {"device": "NVIDIA H200"}})
    assert bench.board().entry("dense").flags == (Reason("other_device", devices="NVIDIA H200"),)


def trying(bench: Bench, row: str, **values: Sequence[object]) -> None:
    """Make the trials of a row try these values of settings, one a trial."""
    trials = tuple(
        {**trial, **{name: each[index] for name, each in values.items()}}
        for index, trial in enumerate(bench.group(row).trials)
    )
    groups = tuple(dataclasses.replace(g, trials=trials) if g.row == row else g for g in bench.plan.groups)
    bench.plan = dataclasses.replace(bench.plan, groups=groups)


@pytest.mark.parametrize(
    ("rates", "end"),
    [((3e-3, 1e-3, 2e-3, 4e-3), "smallest"), ((3e-3, 5e-3, 2e-3, 4e-3), "largest"), ((3e-3, 4e-3, 2e-3, 5e-3), "")],
)
def test_a_best_rate_at_an_end_of_what_was_tried_is_flagged_whatever_its_range(
    tmp_path: Path, rates: tuple[float, ...], end: str
) -> None:
    bench = Bench(tmp_path, variants=["dense"])
    trying(bench, "dense", lr=rates)
    bench.fill("dense", (0.95, 0.97, 0.96))
    flags = bench.board().entry("dense").flags
    edge = Reason("edge", name="lr", value=rates[1], end=end, low=min(rates), high=max(rates), tried=4)
    assert flags == ((edge,) if end else ())


@pytest.mark.parametrize(
    ("tried", "flagged"),
    [((8, 16, 16, 8), False), ((2, 8, 4, 2), True), ((4, 8, 16, 16), False), (("a", "b", "c", "a"), False)],
)
def test_two_values_have_no_inside_and_names_have_no_end(tmp_path: Path, tried: tuple, flagged: bool) -> None:
    bench = Bench(tmp_path, variants=["soft_moe"])
    trying(bench, "soft_moe", experts=tried)
    bench.fill("soft_moe", (0.95, 0.97, 0.96))
    assert bool(bench.board().entry("soft_moe").flags) == flagged


def test_one_remark_a_setting_names_its_rows_the_learning_rate_first(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    trying(bench, "dense", lr=(3e-3, 9e-3, 2e-3, 4e-3), experts=(4, 32, 8, 16))
    trying(bench, "soft_moe", lr=(3e-3, 1e-3, 2e-3, 4e-3))
    trying(bench, "sparse_topk", lr=(3e-3, 9e-3, 2e-3, 4e-3))
    for row in ("dense", "soft_moe", "sparse_topk"):
        bench.fill(row, (0.95, 0.97, 0.96))
    board = bench.board()
    assert [name for name, _ in words.edges(board.rungs[0])] == ["lr", "experts"]
    (_, lr), (_, experts) = words.remarks(board.rungs[0])
    assert lr.count("dense") == lr.count("sparse_topk") == lr.count("soft_moe") == experts.count("dense") == 1
    assert [flag.code for flag in board.entry("dense").flags] == ["edge", "edge"]
    assert board.entry("dense").flags[0].facts["name"] == "lr"


def test_a_rank_survives_where_another_tuning_would_have_given_it_too(tmp_path: Path) -> None:
    """Three places apart: dense falls by 0.4 behind the others in a quarter of the resamples, the others never move."""
    bench = Bench(tmp_path, trials=2)
    for row, accuracies in (("dense", 0.96), ("soft_moe", 0.90), ("sparse_topk", 0.84)):
        bench.tune(row, (0.5, 0.9) if row == "dense" else (0.9, 0.9))
        bench.finish(
            row, [accuracies, accuracies + 0.001, accuracies + (0.002 if row == "dense" else accuracies / 1000)]
        )
    board = bench.board()
    assert ranks(board) == {"dense": (1, 1), "soft_moe": (2, 2), "sparse_topk": (3, 3)}
    survival = [board.entry(row).rank_survival for row in ("dense", "soft_moe", "sparse_topk")]
    assert survival == pytest.approx([0.75, 0.75, 0.75], abs=0.03)
    for shares, said in (((0.71, 1.0, 0.9), "71 to 100 %"), ((0.75,) * 3, "75 %"), ((0.75, 0.8, None), "75 to 80 %")):
        other = surviving(board, shares)
        sentence = f"The printed ranks survive {said} of resampled tunings."
        assert sentence in to_table(other).splitlines()
        assert sentence in TEXTS["md"](other).splitlines()


def surviving(board: Board, shares: Sequence[float | None]) -> Board:
    """The board with these shares, row by row."""
    (rung,) = board.rungs
    rows = zip(rung.entries, shares, strict=True)
    entries = tuple(dataclasses.replace(entry, rank_survival=share) for entry, share in rows)
    return dataclasses.replace(board, rungs=(dataclasses.replace(rung, entries=entries),))


def test_trials_that_depend_on_each_other_or_a_single_one_are_not_resampled(tmp_path: Path) -> None:
    for name, options, reason in (
        ("tpe", {"sampler": "tpe"}, Reason("dependent_trials", sampler="tpe")),
        ("one", {"trials": 1}, Reason("one_trial")),
    ):
        bench = Bench(tmp_path / name, variants=["dense"], **options)
        bench.fill("dense", (0.95, 0.97, 0.96))
        entry = bench.board().entry("dense")
        assert (entry.rank_survival, entry.rank_survival_reason) == (None, reason)
        assert "The printed ranks" not in TEXTS["md"](bench.board()), "nothing is known"


def test_each_budget_of_a_ladder_is_ranked_on_its_own(tmp_path: Path) -> None:
    bench = Bench(tmp_path, variants=["dense", "soft_moe"], budgets=[BUDGET, 4 * BUDGET])
    bench.fill("dense", (0.950, 0.951, 0.953))
    bench.fill("soft_moe", (0.960, 0.9615, 0.963))
    bench.fill("dense", (0.970, 0.971, 0.973), budget=4 * BUDGET)
    board = bench.board()
    assert [rung.budget for rung in board.rungs] == [BUDGET, 4 * BUDGET]
    assert board.entry("soft_moe").rank == (1, 1)
    assert board.entry("soft_moe", 4 * BUDGET).reason == Reason("not_run")
    assert board.entry("dense", 4 * BUDGET).rank == (1, 1)


def overlapping(root: Path) -> Board:
    """soft_moe beats dense by a point on every seed; sparse_topk lies between them, too unsteady for a verdict."""
    bench = Bench(root, variants=["dense", "soft_moe", "sparse_topk"])
    bench.fill("dense", (0.950, 0.952, 0.951))
    bench.fill("soft_moe", (0.960, 0.9621, 0.9609))
    bench.fill("sparse_topk", (0.99, 0.90, 0.985))
    return bench.board()


def test_rows_whose_ranks_overlap_may_differ_significantly_and_the_board_names_them(tmp_path: Path) -> None:
    board = overlapping(tmp_path)
    assert ranks(board) == {"soft_moe": (1, 2), "sparse_topk": (1, 3), "dense": (2, 3)}
    assert board.entry("soft_moe").better_than == ("dense",)
    assert board.entry("dense").better_than == board.entry("sparse_topk").better_than == ()
    said = "Significantly better than dense: soft_moe; no significant difference: sparse_topk."
    assert words.against(board.rungs[0]) == (said,)
    assert said in to_table(board, 200)
    markdown, page, data = TEXTS["md"](board), TEXTS["html"](board), json.loads(TEXTS["json"](board))
    assert "- **soft_moe** is significantly better than dense\n" in markdown
    assert page.count("<dt>significantly better than</dt><dd><bdi>dense</bdi></dd>") == 1
    assert page.count("<dt>significantly worse than</dt><dd><bdi>soft_<wbr>moe</bdi></dd>") == 1
    assert {entry["variant"]: entry["better_than"] for entry in data["entries"] if entry["better_than"]} == {
        "soft_moe": ["dense"]
    }


def test_of_many_rows_the_first_are_named(tmp_path: Path) -> None:
    board = overlapping(tmp_path)
    soft = board.entry("soft_moe")
    names = [f"row{index:02}" for index in range(words.MOST_NAMES + 3)]
    rung = dataclasses.replace(board.rungs[0], entries=tuple(dataclasses.replace(soft, variant=n) for n in names))
    shown = words.some(rung, names[::-1])
    assert shown == f"{', '.join(names[: words.MOST_NAMES])} and 3 more"
    assert words.some(rung, names[:2]) == "row00, row01"


def test_a_diverged_seed_keeps_its_number_where_another_is_missing(tmp_path: Path) -> None:
    bench = Bench(tmp_path, variants=["dense", "soft_moe"])
    bench.fill("dense", (0.95, 0.97, 0.96))
    bench.fill("soft_moe", (0.95, 0.97, 0.96))
    missing, diverged, _ = bench.group("soft_moe").final_cells(bench.store.get)
    bench.store.record_path(missing.identity).unlink()
    bench.put(diverged, "soft_moe", status="diverged", reason="loss is nan")
    assert bench.board().entry("soft_moe").flags == (Reason("diverged", seed=1, floor=0.1),)
