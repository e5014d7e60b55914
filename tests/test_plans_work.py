"""From records to the next runs: winners, finals, latency sessions, TPE generations, and how long it takes."""

import dataclasses

import pytest

from moebench.plans.estimate import LATENCY_SECONDS, left, tally
from moebench.plans.generations import grown
from moebench.plans.latency import finalist, latency_cells
from moebench.tasks import get_task
from plans import Records, a_plan, a_suite, group_of

PAIR = {"variants": ["dense", "soft_moe"], "reference": [], "space": {"soft_moe": {"experts": [8, 16]}}}


@pytest.fixture(scope="module")
def plan():
    return a_plan(**PAIR)


@pytest.fixture(scope="module")
def tpe():
    return a_plan(
        tuning={"sampler": "tpe", "generation": 3, "trials": 8},
        variants=["sparse_topk", "dense"],
        reference=[],
        space={"sparse_topk": {"experts": [8, 16, 32]}},
    )


@pytest.fixture
def records():
    return Records()


def settle_trials(records, group, scores):
    """(accuracy, loss) of each trial; None diverged."""
    for cell, score in zip(group.trial_cells, scores, strict=True):
        if score is None:
            records.settle(cell, status="diverged")
        else:
            records.settle(cell, *score)


@pytest.mark.parametrize(
    ("scores", "winner"),
    [
        ([(0.8, 0.9), (0.9, 0.5), (0.7, 0.1), (0.85, 0.2)], 1),
        ([(0.9, 0.5), (0.9, 0.4), (0.9, 0.4), (0.1, 0.0)], 1),
        ([(0.9, 0.4), (0.9, 0.4), (0.9, 0.4), (0.9, 0.4)], 0),
        ([None, (0.05, 9.0), None, (0.04, 0.1)], 1),
        ([None, None, None, None], 0),
        ([(0.0, 1.0), None, (0.0, 1.0), (0.0, 0.9)], 3),
    ],
)
def test_the_winner_has_the_best_validation_accuracy_then_loss_then_index(plan, records, scores, winner):
    group = group_of(plan, "soft_moe")
    settle_trials(records, group, scores)
    assert group.winner(records) == winner
    finals = group.final_cells(records)
    assert [cell.seed for cell in finals] == list(group.final_seeds)
    assert {cell.kind for cell in finals} == {"final"}
    assert all(cell.settings == group.trials[winner] for cell in finals)


def test_test_scores_do_not_choose_the_winner(plan, records):
    group = group_of(plan, "dense")
    settle_trials(records, group, [(0.9, 0.1), (0.8, 0.1), (0.8, 0.1), (0.8, 0.1)])
    cell = group.trial_cells[2]
    scores = {**records[cell.identity].scores, "test_accuracy": 1.0, "test_loss_nats": 0.0}
    records[cell.identity] = records[cell.identity].model_copy(update={"scores": scores})
    assert group.winner(records) == 0


@pytest.mark.parametrize("status", [None, "error", "oom", "timeout", "over_budget", "not_installed", "skipped"])
def test_a_trial_that_is_not_settled_blocks_the_finals(plan, records, status):
    group = group_of(plan, "dense")
    settle_trials(records, group, [(0.9, 0.1)] * 4)
    assert len(group.final_cells(records)) == 2
    last = group.trial_cells[3]
    if status is None:
        del records[last.identity]
    else:
        records.settle(last, status=status)
    assert group.winner(records) is None
    assert group.final_cells(records) == ()
    assert group.finals(records) is None


def test_finals_are_there_when_all_of_them_are_settled(plan, records):
    group = group_of(plan, "dense")
    settle_trials(records, group, [(0.9, 0.1)] * 4)
    first, second = group.final_cells(records)
    records.settle(first)
    assert group.finals(records) is None
    records.settle(second, status="diverged")
    assert [record.identity for record in group.finals(records)] == [first.identity, second.identity]
    assert finalist(group, records) == first.identity
    records.settle(first, status="diverged")
    assert finalist(group, records) == ""


def test_the_work_is_every_trial_and_the_finals_that_are_decided(plan, records):
    assert [work.label for work in plan.works(records)][:5] == [
        *(f"dense digits trial {index}" for index in range(4)),
        "soft_moe digits trial 0",
    ]
    assert len(list(plan.works(records))) == 8
    settle_trials(records, group_of(plan, "soft_moe"), [(0.9, 0.1)] * 4)
    work = list(plan.works(records))
    assert [each.label for each in work[8:]] == ["soft_moe digits final 0", "soft_moe digits final 1"]
    assert {(each.row, each.spec) for each in work} == {("dense", "dense"), ("soft_moe", "soft_moe")}


def test_rows_that_are_not_selected_or_cannot_run_are_no_work(records):
    plan = a_plan(["soft_moe"], **{**PAIR, "variants": ["dense", "soft_moe", "random_router"], "space": {}})
    assert {work.row for work in plan.works(records)} == {"dense", "soft_moe"}
    assert plan.expected_runs() == 2 * 6
    small = a_plan(budgets=[3_000], **{**PAIR, "space": {}})
    assert {work.row for work in small.works(records)} == {"dense"}


def test_latency_waits_for_finals_and_a_new_row_makes_a_new_session_of_all(plan, records):
    assert latency_cells(plan, records) == []
    records.settle_all(plan, rows=["dense"])
    (alone,) = latency_cells(plan, records)
    assert alone.session["finalists"] == [finalist(group_of(plan, "dense"), records)]
    records.settle_all(plan)
    (both,) = latency_cells(plan, records)
    assert both.session["finalists"] == [finalist(group, records) for group in plan.groups]
    assert both.identity != alone.identity
    assert (both.kind, both.task, both.batch, both.seed, both.settings) == ("latency", "digits", 64, 0, {})
    assert (both.session["device"], both.session["backend"]) == (plan.device["name"], "auto")


def test_a_session_is_of_one_device_software_and_backend(plan, records):
    records.settle_all(plan)
    (cell,) = latency_cells(plan, records)
    others = [
        dataclasses.replace(plan, device={**plan.device, "name": "another"}),
        dataclasses.replace(plan, backend="loop"),
        dataclasses.replace(plan, versions={**plan.versions, "torch": "9.9"}),
    ]
    identities = {latency_cells(other, records)[0].identity for other in others}
    assert len({*identities, cell.identity}) == 4


def test_a_session_per_task_and_budget(records):
    plan = a_plan(budgets=[40_000, 80_000], variants=["dense"], reference=[], space={})
    records.settle_all(plan)
    cells = latency_cells(plan, records)
    assert [cell.budget for cell in cells] == [40_000, 80_000]
    assert [cell.session["finalists"] for cell in cells] == [[finalist(group, records)] for group in plan.groups]


def test_rows_that_share_their_runs_are_timed_once(records):
    """Such as dense under two names, for calibration."""
    again = {"name": "dense_again", "variant": "dense", "note": "dense itself"}
    plan = a_plan(variants=["dense", "sparse_topk"], reference=[again], space={})
    records.settle_all(plan)
    assert group_of(plan, "dense").trial_cells == group_of(plan, "dense_again").trial_cells
    (cell,) = latency_cells(plan, records)
    assert len(cell.session["finalists"]) == len(set(cell.session["finalists"])) == 2


def test_nothing_done_is_all_missing_and_all_done_is_nothing(plan, records):
    assert left(plan, records).runs == 2 * (4 + 2) + 1
    assert all(t.guessed and t.seconds > 0 for t in tally(plan, records))
    records.settle_all(plan)
    rest = left(plan, records)
    assert (rest.runs, rest.seconds, rest.alone) == (1, 0, LATENCY_SECONDS)
    for cell in latency_cells(plan, records):
        records.settle(cell)
    assert left(plan, records).runs == 0
    assert sum(t.seconds for t in tally(plan, records)) == 0


def test_the_time_to_go_is_that_of_runs_like_them(plan, records):
    group = group_of(plan, "dense")
    for cell, seconds in zip(group.trial_cells, (2.0, 4.0, 6.0, 90.0), strict=True):
        records.settle(cell, seconds=seconds)
    dense, soft_moe = tally(plan, records)
    assert (dense.trials, dense.finals, soft_moe.trials) == ((4, 4), (2, 0), (4, 0))
    assert not dense.guessed
    assert dense.seconds == 2 * 5.0
    assert soft_moe.seconds == (4 + 2) * 5.0
    records.settle(group.final_cells(records)[0], seconds=7.0)
    assert tally(plan, records)[0].seconds == 7.0


def test_the_guess_grows_with_steps_budget_and_batch():
    def guess(**changes):
        plan = a_plan(variants=["dense"], reference=[], space={}, **changes)
        (one,) = tally(plan, Records())
        return one.seconds

    assert guess() < guess(training={"steps": 100, "batch": 8}) < guess(training={"steps": 100, "batch": 512})
    assert guess() < guess(budgets=[5_000_000])
    assert guess(axis="flops", budgets=[400_000]) == pytest.approx(guess(), rel=0.2)


def test_a_random_study_does_not_grow(plan, records):
    records.settle_all(plan)
    assert grown(plan, records) is plan


def test_a_generation_waits_until_all_before_it_are_settled(tpe, records):
    group = group_of(tpe, "sparse_topk")
    assert (len(group.trials), len(group.shared)) == (3, 8)
    assert grown(tpe, records) is tpe
    settle_trials(records, group, [(0.9, 0.1), (0.8, 0.1), None])
    records.settle(group.trial_cells[1], status="error")
    assert grown(tpe, records) is tpe
    assert group.winner(records) is None
    records.settle(group.trial_cells[1], 0.8)
    after = group_of(grown(tpe, records), "sparse_topk")
    assert after.trials[:3] == group.trials
    assert (len(after.trials), len(after.trial_seeds)) == (6, 6)
    assert after.winner(records) is None
    assert group_of(grown(tpe, records), "dense") is group_of(tpe, "dense")


def test_generations_are_the_same_anywhere_given_the_same_scores(tpe, records):
    def all_generations(order):
        scores = Records()
        plan = tpe
        while True:
            cells = list(group_of(plan, "sparse_topk").trial_cells)
            for cell in cells if order == "forwards" else reversed(cells):
                scores.settle(cell, accuracy=0.5 + cell.settings["loss/balance"])
            after = grown(plan, scores)
            if after is plan:
                return group_of(plan, "sparse_topk")
            plan = after

    forwards, backwards = all_generations("forwards"), all_generations("backwards")
    assert forwards == backwards
    assert len(forwards.trials) == len({cell.identity for cell in forwards.trial_cells}) == 8
    assert [t["lr"] for t in forwards.trials] == [shared["lr"] for shared in forwards.shared]
    assert len(set(forwards.trial_seeds)) == 8


def test_a_later_generation_depends_on_the_scores(tpe):
    """Ten trials are random; after them what was told decides."""
    suite = a_suite(
        tuning={"sampler": "tpe", "generation": 12, "trials": 16},
        variants=["sparse_topk"],
        reference=[],
        space={"sparse_topk": {"experts": [8]}},
    )
    plan = a_plan(suite=suite)
    drawn = []
    for sign in (1, -1):
        records = Records()
        for cell in plan.groups[0].trial_cells:
            records.settle(cell, accuracy=0.5 + sign * cell.settings["loss/balance"])
        trials = group_of(grown(plan, records), "sparse_topk").trials[12:]
        drawn.append(sum(trial["loss/balance"] for trial in trials) / len(trials))
    assert drawn[0] > drawn[1]


def test_a_diverged_trial_is_told_as_the_floor(tpe):
    group = group_of(tpe, "sparse_topk")
    floor = get_task("digits").info.headline.floor
    told = []
    for last in (None, (floor, 5.0)):
        records = Records()
        settle_trials(records, group, [(0.9, 0.1), (0.8, 0.1), last])
        told.append(group_of(grown(tpe, records), "sparse_topk").trials)
    assert told[0] == told[1]


def test_a_combination_that_cannot_meet_the_budget_is_in_no_generation(tpe, records):
    group = dataclasses.replace(group_of(tpe, "sparse_topk"), unfit=({"experts": 8}, {"experts": 32}))
    plan = dataclasses.replace(tpe, groups=(group,))
    for _ in range(2):
        for cell in plan.groups[0].trial_cells:
            records.settle(cell)
        plan = grown(plan, records)
    assert len(plan.groups[0].trials) == 8
    assert {trial["experts"] for trial in plan.groups[0].trials[3:]} == {16}
