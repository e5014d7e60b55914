"""What layers are worth on a board: planned sizes of dense, multipliers from records made by hand, and one real run."""

import csv
import dataclasses
import io
import json
import math

import numpy as np
import pytest

from boards import Bench, small_board
from moebench.board import words
from moebench.board.build import build_board
from moebench.board.data import to_csv, to_json
from moebench.board.model import Estimate
from moebench.board.words import finding
from moebench.board.worth import is_shown
from moebench.errors import SuiteError
from moebench.plans.latency import latency_cells
from moebench.plans.plan import Plan
from moebench.publish.sources import expected
from moebench.publish.write import _left_out, _without
from moebench.records import Record
from moebench.statistics.power import MOST_SEEDS
from moebench.suites import find_suites, load_suite
from plans import BUDGET, Records, a_plan, a_suite, group_of

SIZES = [20_000, BUDGET, 120_000]
NULLS = [
    {"name": "dense_active", "variant": "dense", "active_of": "sparse_topk", "note": "active parameters"},
    {"name": "null", "variant": "random_detached", "note": "null", "like": "sparse_topk"},
]
SPACE = {"soft_moe": {"experts": [8]}, "sparse_topk": {"experts": [8]}}
FLOPS = {"dense_20000": 1e12, "dense": 2e12, "dense_120000": 4e12, "sparse_topk": 1e12, "null": 1e12, "soft_moe": 1e12}
LOSS = {"dense_20000": 1.0, "dense": 0.8, "dense_120000": 0.7, "sparse_topk": 0.9, "null": 0.95, "soft_moe": 0.65}
CURVE = {"steps": [5, 10], "train_loss": [1.0, 0.5], "validation_loss": [1.0, 0.8]}


def laddered(**changes):
    return a_plan(ladder={"sizes": SIZES}, reference=NULLS, space=SPACE, **changes)


def filled(plan, loss=LOSS, noise=0.01):
    """Records of every run; the seeds of all rows are off by the same, but for a little."""
    records = Records()
    for group in plan.groups:
        own = group.row if group.row in FLOPS else "dense"
        for cell in group.trial_cells:
            records.settle(cell)
        for index, cell in enumerate(group.final_cells(records)):
            record = records.settle(cell)
            shift = noise * (index + 0.1 * len(group.row) * (-1) ** index)
            scores = {**record.scores, "test_accuracy": 0.9, "test_loss_nats": loss[own] + shift}
            counts = {"training_flops": int(FLOPS[own]), "model_params": group.amount + 1000, "budget_error": 0.0}
            counts["experts"] = [0] if own.startswith("dense") else [8]
            details = {"train_seconds": FLOPS[own] / 1e12, "curve": CURVE}
            values = record.model_dump() | {"scores": scores, "counts": counts, "details": details}
            records[cell.identity] = Record.model_validate(values)
    return records


def test_a_ladder_has_a_row_for_each_size_that_is_no_budget():
    plan = laddered()
    sizes = {row.name: row.ladder for row in plan.rows if row.ladder}
    assert sizes == {"dense_20000": 20_000, "dense_120000": 120_000}
    assert [group_of(plan, name).amount for name in sizes] == [20_000, 120_000]
    dense = group_of(plan, "dense")
    for name in sizes:
        assert len(group_of(plan, name).trials) == len(dense.trials)
        assert group_of(plan, name).final_seeds == dense.final_seeds
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    assert plan.sessions == 1


def test_the_ladder_is_worked_on_whatever_rows_are_chosen():
    plan = a_plan(["sparse_topk"], ladder={"sizes": SIZES}, reference=NULLS, space=SPACE)
    assert {row.name for row in plan.rows if row.selected} == {"dense", "sparse_topk", "dense_20000", "dense_120000"}


def test_a_ladder_needs_dense_and_rises():
    for ladder, variants in (
        ({"sizes": [1, 2]}, ["soft_moe"]),
        ({"sizes": [2, 1]}, ["dense"]),
        ({"sizes": [1]}, ["dense"]),
    ):
        with pytest.raises(SuiteError):
            a_suite(ladder=ladder, variants=variants, reference=[], space={})


def test_a_suite_without_a_ladder_is_written_as_before():
    assert "ladder" not in a_suite().model_dump()
    assert all("ladder" not in row for row in a_plan().to_json()["rows"])


def test_sizes_of_the_ladder_have_no_place_on_the_board_nor_in_its_comparisons():
    plan = laddered()
    records = filled(plan)
    board = build_board(plan, records)
    assert {entry.variant for entry in board.entries} == {row.name for row in plan.board_rows}
    assert "dense_20000" not in str(board.rungs[0].against)
    (cell,) = latency_cells(plan, records)
    assert len(cell.session["finalists"]) == len(plan.board_rows)


def test_multipliers_by_hand():
    """sparse_topk is half way from 1 to 2 TFLOP at a cost of 1; the null a quarter of the way."""
    plan = laddered()
    found = {e.variant: e.worth for e in build_board(plan, filled(plan)).entries}
    worth = found["sparse_topk"]
    assert worth.compute_multiplier.value == pytest.approx(2**0.5, rel=0.02)
    assert worth.compute_multiplier.low < 2**0.5 < worth.compute_multiplier.high
    assert worth.routing_worth.value == pytest.approx(2**0.25, rel=0.02)
    assert worth.capacity_worth.value == pytest.approx(2**0.25, rel=0.02)
    assert worth.wall_clock_multiplier.value == pytest.approx(worth.compute_multiplier.value)
    product = worth.routing_worth.value * worth.capacity_worth.value
    assert product == pytest.approx(worth.compute_multiplier.value)
    assert found["null"].routing_worth.value == pytest.approx(1)
    assert found["dense"].compute_multiplier.value == pytest.approx(1)
    assert found["dense"].routing_worth_reason.code == "no_experts"
    assert worth.steps_to_dense == 0.5  # the median of two points
    assert worth.gain_recovered_reason.code == "no_oracle"


def test_outside_the_ladder_there_is_a_bound():
    plan = laddered()
    board = build_board(plan, filled(plan))
    found = board.entry("soft_moe").worth
    assert (found.compute_multiplier.value, found.compute_multiplier.bound) == (None, ">")
    assert found.compute_multiplier.limit == pytest.approx(4)
    assert found.routing_worth.bound == ">"
    both = build_board(plan, filled(plan, LOSS | {"null": 0.6})).entry("soft_moe").worth
    assert (both.routing_worth, both.routing_worth_reason.code) == (None, "both_outside")


def test_a_larger_size_that_is_no_better_is_not_what_dense_needs():
    plan = laddered()
    board = build_board(plan, filled(plan, LOSS | {"dense_120000": 0.85}))
    assert board.dense_ladder[0].no_better == (120_000,)
    assert board.entry("sparse_topk").worth.compute_multiplier.value == pytest.approx(2**0.5, rel=0.02)
    assert board.entry("soft_moe").worth.compute_multiplier.limit == pytest.approx(4)  # no size of up to 4 TFLOP has it


def test_the_gain_recovered_is_known_where_there_is_an_oracle():
    oracle = {"name": "oracle", "variant": "oracle_router", "note": "oracle"}
    plan = a_plan(reference=[*NULLS, oracle], space=SPACE | {"oracle_router": {"experts": [8]}})
    FLOPS["oracle"] = 1e12
    board = build_board(plan, filled(plan, LOSS | {"oracle": 0.75}))
    assert board.entry("sparse_topk").worth.gain_recovered.value == pytest.approx(0.25, abs=0.05)
    assert board.entry("dense").worth.gain_recovered_reason.code == "no_experts"
    assert board.entry("sparse_topk").worth.compute_multiplier_reason.code == "no_ladder"


@pytest.mark.parametrize(
    ("change", "code"),
    [({"dense_20000": 0.65}, "ladder_not_falling"), ({"dense_20000": None}, "ladder_incomplete")],
)
def test_a_ladder_that_is_none_says_why(change, code):
    plan = laddered()
    records = filled(plan, LOSS | {name: value or 1.0 for name, value in change.items()})
    if None in change.values():
        lacking = group_of(plan, "dense_20000").final_cells(records)[0].identity
        del records[lacking]
    board = build_board(plan, records)
    assert board.entry("sparse_topk").worth.compute_multiplier_reason.code == code
    assert board.dense_ladder[0].reason.code == code


def test_the_board_shows_the_ladder():
    plan = laddered()
    (ladder,) = build_board(plan, filled(plan)).dense_ladder
    assert ladder.flops == (1e12, 2e12, 4e12)
    assert [each.value for each in ladder.loss] == pytest.approx([1.0, 0.8, 0.7], abs=0.02)


def test_the_sentence_says_what_was_found_in_the_fields_unit():
    space = {"sparse_topk": {"experts": [8]}}
    plan = a_plan(ladder={"sizes": SIZES}, reference=NULLS, space=space, variants=["dense", "sparse_topk"])
    board = build_board(plan, filled(plan))
    said = finding(board, board.rungs[0])
    assert said.startswith("On digits at 50k parameters ")
    assert "sparse_topk needs 0.71 (0.62 to 0.81) of dense's compute for its loss" in said
    assert "its learned routing is worth 1.19x" in said
    beyond = build_board(plan, filled(plan, LOSS | {"sparse_topk": 0.65}))
    assert "needs less than 0.25 of dense's compute" in finding(beyond, beyond.rungs[0])
    assert "its learned routing is worth more than " in finding(beyond, beyond.rungs[0])


def test_the_sentence_names_the_largest_multiplier_where_it_is_not_the_first_rows():
    rows = {"variants": ["dense", "sparse_topk", "soft_moe"]}
    # Of 0.65 only a limit is known: no size of dense has that loss.
    for loss, wanted in ((0.75, " soft_moe has the largest compute multiplier, 2.83x ("), (0.95, ""), (0.65, "")):
        plan = laddered(**rows)
        board = build_board(plan, filled(plan, LOSS | {"soft_moe": loss, "sparse_topk": 0.9}))
        first = dataclasses.replace(board.rungs[0], entries=tuple(sorted(board.entries, key=of_topk)))
        said = finding(board, first)
        assert "sparse_topk needs 0.71" in said
        assert wanted in said if wanted else "largest" not in said


def of_topk(entry):
    return (entry.rank is None, entry.variant != "sparse_topk")


def test_where_worth_is_not_clear_the_sentence_says_with_how_many_seeds_it_would_be():
    rows = {"space": {"sparse_topk": {"experts": [8]}}, "variants": ["dense", "sparse_topk"]}
    plan = a_plan(ladder={"sizes": SIZES}, reference=NULLS, **rows)
    for null, wanted in ((0.92, "about 23 seeds would show it"), (0.9, f"even {MOST_SEEDS} seeds would seldom")):
        board = build_board(plan, filled(plan, LOSS | {"null": null}, noise=0.03))
        assert wanted in finding(board, board.rungs[0])


def test_json_and_csv_have_the_fixed_names():
    plan = laddered()
    board = build_board(plan, filled(plan))
    entries = {each["variant"]: each for each in json.loads(to_json(board))["entries"]}
    worth = entries["sparse_topk"]["routing_worth"]
    assert worth.keys() == {"value", "low", "high", "bound", "limit"}
    assert entries["soft_moe"]["compute_multiplier"]["bound"] == ">"
    assert entries["dense"]["routing_worth"] is None
    assert entries["dense"]["training"] == {"flops": 2 * 10**12, "seconds": 2.0}
    lines = {line["variant"]: line for line in csv.DictReader(io.StringIO(to_csv(board)))}
    assert float(lines["sparse_topk"]["compute_multiplier"]) == entries["sparse_topk"]["compute_multiplier"]["value"]


def test_a_floor_or_five_sizes_are_fitted():
    plan = laddered()
    records = filled(plan, noise=0.001)
    assert build_board(plan, records).dense_ladder[0].fit is None
    suite = plan.suite.model_copy(update={"ladder": plan.suite.ladder.model_copy(update={"floor": 0.5})})
    fit = build_board(dataclasses.replace(plan, suite=suite), records).dense_ladder[0].fit
    assert fit.floor == 0.5
    assert np.abs(fit.residuals).max() < 0.02


def test_route_regret_of_the_finals_is_on_the_board_and_published():
    measure = [{"name": "regret", "kind": "route_regret"}, {"name": "other", "kind": "subset"}]
    plan = laddered(measure=measure)
    records = filled(plan)
    works = [work for work in plan.measuring(records, alone=False) if work.row == "sparse_topk"]
    assert not [work for work in plan.measuring(records, alone=False) if work.row.startswith("dense_1")]
    for index, work in enumerate(works):
        shown = work.cell.session["measure"] == "route_regret"
        scores = {"regret_nats": 0.2 + 0.1 * (index % 2), "regret_nats layer 1": 0.1} if shown else {"all": 0.5}
        record = records.settle(work.cell)
        records[work.cell.identity] = record.model_copy(update={"scores": scores})
    worth = build_board(plan, records).entry("sparse_topk").worth
    assert worth.route_regret.unit == "nats"
    assert worth.route_regret.value == pytest.approx(0.2, abs=0.11)
    assert [each.value for each in worth.route_regret_layers] == [] or worth.route_regret_layers[0].value == 0.1
    assert build_board(plan, records).entry("soft_moe").worth.route_regret is None
    published = _without(plan, {})
    identities = expected(published, records)
    assert {work.cell.identity for work in works if is_shown(work)} < set(identities)
    assert not {work.cell.identity for work in works if not is_shown(work)} & set(identities)
    assert build_board(published, records).entry("sparse_topk").worth == worth


def test_a_ladder_that_lacks_a_size_is_not_published():
    plan = laddered()
    records = filled(plan)
    del records[group_of(plan, "dense_20000").final_cells(records)[0].identity]
    left_out = _left_out(plan, records)
    assert left_out.keys() == {"dense_20000", "dense_120000"}
    published = _without(plan, left_out)
    assert published.suite.ladder is None
    assert not [row for row in published.rows if row.ladder]


@pytest.mark.parametrize("name", [name for name in find_suites() if name in ("standard", "text")])
def test_the_ladders_of_the_suites_hold_their_budgets(name):
    """So that each board's dense is a size of its ladder, with one below the least and one above the largest."""
    suite = load_suite(name)
    assert set(suite.budgets) < set(suite.ladder.sizes)
    assert suite.ladder.sizes[0] < min(suite.budgets)
    assert suite.ladder.sizes[-1] > max(suite.budgets)


def test_where_the_leader_does_not_route_the_sentence_is_about_the_first_that_does(tmp_path):
    bench = Bench(tmp_path, references=[("random_router", "frozen random router")])

    def without_experts(fields):
        return fields | {"counts": fields["counts"] | {"experts": [0, 0]}}

    bench.fill("dense", (0.96, 0.961, 0.962), specialization=None)
    bench.fill("soft_moe", (0.985, 0.986, 0.987), specialization=None, change=without_experts)
    bench.fill("sparse_topk", (0.97, 0.971, 0.972))
    bench.fill("random_router", (0.912, 0.914, 0.912))
    board = bench.board()
    assert finding(board, board.rungs[0]).endswith(
        "The first row that routes, sparse_topk: its routing is significantly better than random_router."
    )


@pytest.mark.parametrize(
    ("value", "higher", "said"),
    [
        (0.024, True, "is 0.024 ahead of dense (-0.006 to 0.054)"),
        (-0.024, False, "is 0.024 ahead of dense (-0.006 to 0.054)"),
        (-0.024, True, "is 0.024 behind dense (-0.006 to 0.054)"),
        (0.024, False, "is 0.024 behind dense (-0.006 to 0.054)"),
    ],
)
def test_a_lead_is_a_positive_number_whether_more_or_less_is_better(value, higher, said, tmp_path):
    board = small_board(tmp_path).board()
    (task, *_), leader = board.tasks, board.rungs[0].entries[0]
    low, high = sorted((value - math.copysign(0.03, value), value + math.copysign(0.03, value)))
    leader = dataclasses.replace(leader, better_than=(), vs_dense=Estimate(value, low, high))
    board = dataclasses.replace(board, tasks=(dataclasses.replace(task, higher_is_better=higher),))
    assert said in words._against_compute(board, board.rungs[0], leader)
