"""The headlines of a row and what stands beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from boards import BUDGET, CURVE, SHARED, Bench, Change, small_board
from moebench.board import TEXTS, Estimate, Reason, to_table
from moebench.board.words import specialization_note

TWO = ["digits", "fashion_mnist"]


def test_representation_is_the_mean_over_tasks_of_the_mean_over_seeds(tmp_path: Path) -> None:
    bench = Bench(tmp_path, variants=["dense"], tasks=TWO)
    bench.fill("dense", (0.90, 0.92, 0.94))
    bench.fill("dense", (0.70, 0.72, 0.74), task="fashion_mnist")
    entry = bench.board().entry("dense")
    assert entry.representation is not None
    assert entry.representation.value == pytest.approx(0.82)
    assert entry.representation.unit == "share"
    assert [task.score.value for task in entry.tasks if task.score] == pytest.approx([0.92, 0.72])


def test_one_seed_sets_no_bounds_and_claims_no_rank(tmp_path: Path) -> None:
    bench = Bench(tmp_path, variants=["dense", "soft_moe"], seeds=1)
    bench.fill("dense", (0.90,))
    bench.fill("soft_moe", (0.99,))
    entry = bench.board().entry("soft_moe")
    assert entry.representation == Estimate(0.99, None, None, "share")
    assert entry.rank == (1, 2)


def test_the_difference_to_dense_has_welchs_interval(tmp_path: Path) -> None:
    versus = small_board(tmp_path).board().entry("soft_moe").vs_dense
    assert versus is not None
    assert versus.value == pytest.approx((0.010 + 0.010 + 0.012) / 3)
    # sd 0.001155 each, SE 0.000943, t(4, 97.5 %) = 2.776
    assert versus.low == pytest.approx(0.010667 - 2.776 * 0.000943, abs=1e-5)


def test_dense_differs_from_itself_by_nothing(tmp_path: Path) -> None:
    assert small_board(tmp_path).board().entry("dense").vs_dense == Estimate(0.0, 0.0, 0.0, "share")


def test_without_dense_there_is_no_difference_but_still_a_rank(tmp_path: Path) -> None:
    bench = Bench(tmp_path, variants=["soft_moe", "sparse_topk"])
    bench.fill("soft_moe", (0.95, 0.97, 0.96))
    bench.fill("sparse_topk", (0.95, 0.96, 0.96))
    entry = bench.board().entry("soft_moe")
    assert entry.rank == (1, 2)
    assert (entry.vs_dense, entry.vs_dense_reason) == (None, Reason("no_ranked_dense", dense="dense"))


def experts_of(experts: int, per_token: float, always_on: float = 0.0) -> Change:
    """A change of final records to layers of so many experts."""

    def change(fields: dict[str, Any]) -> dict[str, Any]:
        counts = {"experts": [experts] * 2, "experts_per_token": [per_token] * 2}
        scores = fields["scores"] | {"always_on_share": always_on}
        return fields | {"counts": fields["counts"] | counts, "scores": scores}

    return change


LAYERS = {
    "sparse_topk": experts_of(16, 2.0),
    "random_router": experts_of(16, 2.0),
    "cosine_topk": experts_of(8, 2.0),
    "soft_moe": experts_of(16, 16.0),
    "deepseek": experts_of(16, 2.0, always_on=0.6),
    "smola": experts_of(16, 2.0, always_on=0.7),
}


def special_of(root: Path, **options: Any) -> dict[str, tuple[bool, str]]:
    """Of each row, whether it has a quotient, and the code of the reason."""
    bench = Bench(root, variants=list(LAYERS), **options)
    for row, change in LAYERS.items():
        for task in bench.plan.suite.task_names:
            bench.fill(row, (0.95, 0.97, 0.96), task=task, change=change)
    entries = bench.board().entries
    assert all(entry.selection_gain and entry.experts_gain for entry in entries), "they are shown for all"
    reasons = {entry.variant: entry.specialization_reason for entry in entries}
    return {e.variant: (e.specialization is not None, r.code if (r := reasons[e.variant]) else "") for e in entries}


def test_the_quotient_is_shown_among_rows_of_equal_experts_and_nothing_beside_them(tmp_path: Path) -> None:
    assert special_of(tmp_path) == {
        "sparse_topk": (True, ""),
        "random_router": (True, ""),
        "cosine_topk": (False, "experts_differ"),
        "soft_moe": (False, "experts_differ"),
        "deepseek": (False, "always_on"),
        "smola": (False, "always_on"),
    }


def test_the_reason_names_the_rows_that_can_be_compared(tmp_path: Path) -> None:
    bench = Bench(tmp_path, variants=list(LAYERS))
    for row, change in LAYERS.items():
        bench.fill(row, (0.95, 0.97, 0.96), change=change)
    board = bench.board()
    reason = board.entry("soft_moe").specialization_reason
    assert reason is not None
    groups = (("16 experts, 2 a token", ("sparse_topk", "random_router")),)
    assert dict(reason.facts) == {"own": "16 experts, 16 a token", "groups": groups}
    assert "sparse_topk, random_router (16 experts, 2 a token)" in specialization_note(board.rungs[0])
    assert board.entry("deepseek").experts == "16 experts, 2 a token, and a part that always acts"


def test_rows_must_agree_on_every_task(tmp_path: Path) -> None:
    """sparse_topk and random_router are alike on one task, and there the quotient stands."""
    bench = Bench(tmp_path, variants=["sparse_topk", "random_router"], tasks=TWO)
    for row in ("sparse_topk", "random_router"):
        for task, experts in (("digits", 8), ("fashion_mnist", 8 if row == "sparse_topk" else 16)):
            bench.fill(row, (0.95, 0.97, 0.96), task=task, change=experts_of(experts, 2.0))
    entry = bench.board().entry("sparse_topk")
    assert entry.specialization is None
    assert [task.specialization is not None for task in entry.tasks] == [True, False]


def test_records_that_do_not_say_their_experts_are_not_compared(tmp_path: Path) -> None:
    bench = Bench(tmp_path, variants=["sparse_topk", "random_router"])
    for row in ("sparse_topk", "random_router"):
        bench.fill(
            row, (0.95, 0.97, 0.96), change=lambda fields: fields | {"counts": without(fields["counts"], "experts")}
        )
    assert bench.board().entry("sparse_topk").specialization_reason == Reason("experts_unknown")


def without(fields: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key != name}


def test_a_specialization_of_zero_is_a_number_and_not_missing(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for row in ("sparse_topk", "soft_moe"):
        bench.fill(row, (0.95, 0.97, 0.96), specialization=(0.0, 0.0, 0.1), change=experts_of(8, 2.0))
    special = bench.board().entry("soft_moe").specialization
    assert special is not None
    assert special.value == pytest.approx(0.1 / 3)


def test_one_null_seed_makes_specialization_null_with_its_reason(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    reason = "the host does not depend on its experts (all 0.960, none 0.951)"
    bench.fill("soft_moe", (0.95, 0.97, 0.96), specialization=(0.2, None, 0.2), reason=reason)
    entry = bench.board().entry("soft_moe")
    assert entry.specialization is None
    assert entry.specialization_reason == Reason("recorded", text=reason, of_seeds=(1, 3))


def test_the_commonest_reason_stands_for_the_row(tmp_path: Path) -> None:
    """Two runs give the same reason with other numbers in it; one gives another reason, and comes first."""
    bench = Bench(tmp_path)
    bench.fill("soft_moe", (0.95, 0.97, 0.96), specialization=None)
    reasons = ("rare", "common (all 0.97, none 0.95)", "common (all 0.96, none 0.95)")
    for cell, reason in zip(bench.group("soft_moe").final_cells(bench.store.get), reasons, strict=True):
        record = bench.store.get(cell.identity)
        assert record is not None
        bench.store.put(record.model_copy(update={"reasons": {"specialization": reason}}))
    assert bench.board().entry("soft_moe").specialization_reason == Reason("recorded", text=reasons[1])


def test_a_task_without_specialization_is_named(tmp_path: Path) -> None:
    bench = Bench(tmp_path, variants=["sparse_topk", "soft_moe"], tasks=TWO)
    for row in ("sparse_topk", "soft_moe"):
        bench.fill(row, (0.95, 0.97, 0.96), change=experts_of(8, 2.0))
        bench.fill(row, (0.85, 0.87, 0.86), task="fashion_mnist", specialization=None, reason="too few")
    entry = bench.board().entry("soft_moe")
    assert entry.specialization_reason == Reason("recorded", text="too few", on_task="fashion_mnist")
    assert entry.tasks[0].specialization is not None
    assert entry.tasks[1].specialization_reason == Reason("recorded", text="too few")


def test_a_reason_that_all_tasks_share_names_none(tmp_path: Path) -> None:
    bench = Bench(tmp_path, variants=["dense"], tasks=TWO)
    for task in TWO:
        bench.fill("dense", (0.95, 0.97, 0.96), task=task, specialization=None)
    assert bench.board().entry("dense").specialization_reason == Reason("no_experts")


def test_a_diverged_seed_has_no_specialization(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.fill("soft_moe", (0.97, 0.98, 0.96))
    cell = bench.group("soft_moe").final_cells(bench.store.get)[1]
    bench.put(cell, "soft_moe", status="diverged", counts={"budget_error": 0.0})
    entry = bench.board().entry("soft_moe")
    diverged = Reason("run_ended", status="diverged", of_seeds=(1, 3))
    assert entry.specialization_reason == diverged
    kept = {score.name: score for score in entry.tasks[0].scores}
    assert kept["retained_1_4"].measure is None
    assert kept["retained_1_4"].reason == diverged


def test_tuning_shows_the_winner_the_default_and_the_cost(tmp_path: Path) -> None:
    tuning = small_board(tmp_path).board().entry("soft_moe").tasks[0].tuning
    assert tuning is not None
    assert tuning.winner == 1
    assert tuning.settings == {"experts": 8, **SHARED[1]}
    assert (tuning.validation, tuning.default_validation) == (0.95, 0.90)
    assert tuning.device_seconds == pytest.approx(4 * 2.5)


def test_the_winners_curse_is_what_the_best_trial_is_better_than_the_final_runs(tmp_path: Path) -> None:
    """The best trial has 0.95; the finals have 0.001 less on validation data than their test scores."""
    entry = small_board(tmp_path).board().entry("soft_moe")
    tuning = entry.tasks[0].tuning
    finals = (0.972 + 0.981 + 0.976) / 3 - 0.001
    assert tuning is not None
    assert tuning.finals_validation == pytest.approx(finals)
    assert tuning.winners_curse == entry.winners_curse == pytest.approx(0.95 - finals)


def test_the_curve_of_a_task_is_the_mean_over_final_runs_and_epochs_are_passes(tmp_path: Path) -> None:
    bench = Bench(tmp_path, variants=["dense"])
    curves = iter([CURVE, {**CURVE, "train_loss": [4.0, 2.0, 1.0, 0.5]}, {**CURVE, "validation_loss": []}])
    bench.fill(
        "dense", (0.95, 0.97, 0.96), change=lambda f: {**f, "details": {"train_inputs": 512, "curve": next(curves)}}
    )
    board = bench.board()
    curve = board.entry("dense").tasks[0].curve
    assert curve is not None
    assert curve.steps == (100, 200, 300, 400)
    assert curve.train_loss == pytest.approx((8 / 3, 4 / 3, 2 / 3, 1 / 3))
    assert curve.validation_loss == (), "one record lacks it"
    assert board.tasks[0].epochs == 400 * 64 / 512 == 50
    assert "digits (50 epochs)" in to_table(board, 120)
    page = TEXTS["html"](board)
    assert 'id="chart-training-0"' in page
    assert "50 epochs" in page


def test_records_without_a_curve_are_as_before(tmp_path: Path) -> None:
    bench = Bench(tmp_path, variants=["dense"])
    bench.fill("dense", (0.95, 0.97, 0.96), change=lambda f: {**f, "details": {}})
    board = bench.board()
    assert board.entry("dense").tasks[0].curve is None
    assert board.tasks[0].epochs is None
    assert 'id="chart-training-0"' not in TEXTS["html"](board)


def test_the_effort_curve_of_a_fixed_design_is_of_all_trials(tmp_path: Path) -> None:
    """0.90, 0.95, 0.93, 0.94: their mean first."""
    tuning = small_board(tmp_path, sampler="grid").board().entry("soft_moe").tasks[0].tuning
    assert tuning is not None
    assert tuning.effort[0] == pytest.approx(0.93)
    assert tuning.effort[-1] == 0.95


def test_the_effort_curve_leaves_out_the_default_which_nobody_drew(tmp_path: Path) -> None:
    """Random trials 0.95, 0.93, 0.94: their mean, the mean best of two, the best."""
    tuning = small_board(tmp_path).board().entry("soft_moe").tasks[0].tuning
    assert tuning is not None
    assert tuning.effort == pytest.approx((0.94, (0.95 + 0.95 + 0.94) / 3, 0.95))


def test_there_is_no_effort_curve_over_trials_that_depend_on_each_other(tmp_path: Path) -> None:
    bench = Bench(tmp_path, variants=["dense"], sampler="tpe")
    bench.fill("dense", (0.95, 0.97, 0.96))
    tuning = bench.board().entry("dense").tasks[0].tuning
    assert tuning is not None
    assert tuning.effort == ()
    assert tuning.effort_reason == Reason("dependent_trials", sampler="tpe")


def test_a_diverged_trial_counts_as_the_floor_in_the_effort_curve(tmp_path: Path) -> None:
    bench = Bench(tmp_path, variants=["dense"])
    bench.tune("dense")
    bench.put(bench.group("dense").trial_cells[3], "dense", status="diverged")
    bench.finish("dense", (0.95, 0.97, 0.96))
    tuning = bench.board().entry("dense").tasks[0].tuning
    assert tuning is not None
    assert tuning.effort[0] == pytest.approx((0.95 + 0.93 + 0.1) / 3)


def test_test_scores_never_choose_the_winner(tmp_path: Path) -> None:
    bench = small_board(tmp_path)
    trial = bench.group("soft_moe").trial_cells[0]
    scores = {"validation_accuracy": 0.5, "validation_loss_nats": 1.0, "test_accuracy": 1.0}
    bench.put(trial, "soft_moe", scores=scores)
    tuning = bench.board().entry("soft_moe").tasks[0].tuning
    assert tuning is not None
    assert tuning.winner == 1


def test_counts_are_means_over_tasks_and_the_worst_budget_error_is_shown(tmp_path: Path) -> None:
    bench = Bench(tmp_path, variants=["dense"], tasks=TWO)
    for task, flops, error in (("digits", 100, 0.004), ("fashion_mnist", 301, -0.009)):

        def counted(fields: dict, flops: int = flops, error: float = error) -> dict:
            return {**fields, "counts": fields["counts"] | {"flops_per_input": flops, "budget_error": error}}

        bench.fill("dense", (0.95, 0.97, 0.96), task=task, change=counted)
    counts = bench.board().entry("dense").counts
    assert counts is not None
    assert (counts.total_params, counts.flops_per_input, counts.budget_error) == (BUDGET, 200, -0.009)


def test_what_was_held_equal_comes_from_the_cells_that_ran(tmp_path: Path) -> None:
    (note,) = small_board(tmp_path).board().tasks
    assert note.shared_settings["split"] == "1078/359/360 by seed 0"
    assert (note.shared_settings["steps"], note.shared_settings["batch"], note.shared_settings["precision"]) == (
        400,
        64,
        "fp32",
    )


def test_a_board_of_broken_rows_still_says_what_the_suite_holds_equal(tmp_path: Path) -> None:
    bench = Bench(tmp_path, variants=["dense"], problems={"dense": "it is broken."})
    board = bench.board()
    assert board.tasks[0].shared_settings["host"]["dim"] == 64
    assert board.entry("dense").reason == Reason("cannot_run", problem="it is broken.")


def test_several_versions_of_a_package_are_all_named(tmp_path: Path) -> None:
    bench = small_board(tmp_path)
    for row, torch in (("dense", "2.13.0"), ("soft_moe", "2.14.1")):
        cell = bench.group(row).final_cells(bench.store.get)[0]
        record = bench.store.get(cell.identity)
        assert record is not None
        provenance = record.provenance | {"versions": {"torch": torch}}
        bench.store.put(record.model_copy(update={"provenance": provenance}))
    assert bench.board().versions["torch"] == "2.13.0, 2.14.1"


def test_the_front_holds_what_nothing_beats_in_quality_latency_and_active_parameters(tmp_path: Path) -> None:
    """dense is worse and slower than soft_moe at the same active parameters; sparse_topk needs fewer of them."""
    board = small_board(tmp_path).board()
    front = {entry.variant: entry.pareto for entry in board.entries}
    assert front == {"soft_moe": "front", "dense": "beaten", "sparse_topk": "front", "random_router": None}


def test_what_does_not_differ_significantly_is_undecided_on_the_front(tmp_path: Path) -> None:
    """soft_moe is faster for certain, and its better accuracy may be chance: dense may be on the front or not."""
    bench = Bench(tmp_path, variants=["dense", "soft_moe"])
    bench.fill("dense", (0.961, 0.972, 0.964), specialization=None)
    bench.fill("soft_moe", (0.972, 0.970, 0.976))
    bench.time({"dense": 1.9, "soft_moe": 1.31})
    assert {e.variant: e.pareto for e in bench.board().entries} == {"soft_moe": "front", "dense": "undecided"}


def test_active_parameters_within_the_tolerance_of_a_budget_are_equal(tmp_path: Path) -> None:
    """Half a percent fewer parameters is rounding of widths: it must not put a worse and slower row on the front."""
    bench = small_board(tmp_path)
    for cell in bench.group("dense").final_cells(bench.store.get):
        record = bench.store.get(cell.identity)
        assert record is not None
        bench.store.put(record.model_copy(update={"counts": record.counts | {"active_params": 262_700}}))
    assert bench.board().entry("dense").pareto == "beaten"


def test_without_latency_no_row_has_a_place_on_the_front(tmp_path: Path) -> None:
    bench = Bench(tmp_path, variants=["dense"])
    bench.fill("dense", (0.961, 0.972, 0.964), specialization=None)
    assert bench.board().entry("dense").pareto is None


def test_the_board_says_what_its_intervals_do_on_boards_like_it(tmp_path: Path) -> None:
    calibration = small_board(tmp_path).board().calibration
    assert calibration is not None
    assert (calibration.seeds, calibration.tasks, calibration.rows) == (3, 1, 3)
    assert (calibration.references, calibration.budgets) == (1, 1)
    assert 0.93 <= calibration.coverage <= 0.97
    assert Bench(tmp_path / "one", seeds=1).board().calibration is None
