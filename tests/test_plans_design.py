"""The fixed design of tuning: rates on a log grid, decays paired with them, options in turn along the rates."""

import itertools

import pytest

from moebench.plans.ask import ask
from moebench.plans.design import log_grid, options_in_turn, shared_design, spread_order
from plans import a_plan, group_of

LR, DECAY = (1e-3, 3e-2, 1e-2), (1e-3, 0.3, 0.05)


def rates(trials):
    return [trial["lr"] for trial in shared_design(LR, DECAY, trials)]


def test_a_grid_is_even_in_the_logarithm_and_holds_both_ends_and_the_default():
    assert log_grid(1e-4, 1e-1, 1e-2, 4) == [1e-4, 1e-3, 1e-2, 1e-1]
    assert log_grid(1e-4, 1e-1, 2e-2, 4) == [1e-4, 1e-3, 2e-2, 1e-1], "the nearest value gives way to the default"
    assert log_grid(1e-4, 1e-1, 1e-2, 1) == [1e-2]
    assert log_grid(1e-3, 1e-1, 2e-3, 2) == [2e-3, 1e-1]


@pytest.mark.parametrize("trials", range(1, 13))
def test_each_value_is_tried_once_and_trial_0_is_the_default(trials):
    design = shared_design(LR, DECAY, trials)
    assert design[0] == {"lr": 1e-2, "weight_decay": 0.05}
    assert sorted(trial["lr"] for trial in design) == log_grid(*LR, trials)
    assert sorted(trial["weight_decay"] for trial in design) == log_grid(*DECAY, trials)


def test_the_design_of_four_trials():
    assert shared_design(LR, DECAY, 4) == [
        {"lr": 0.01, "weight_decay": 0.05},
        {"lr": 0.03, "weight_decay": 0.001},
        {"lr": 0.003107, "weight_decay": 0.006694},
        {"lr": 0.001, "weight_decay": 0.3},
    ]


@pytest.mark.parametrize("trials", range(6, 13))
def test_decays_rise_and_fall_along_the_rates_and_extremes_meet_crosswise(trials):
    by_rate = [trial["weight_decay"] for trial in sorted(shared_design(LR, DECAY, trials), key=lambda t: t["lr"])]
    assert (by_rate[0], by_rate[-1]) == (0.3, 1e-3)
    signs = [later > earlier for earlier, later in itertools.pairwise(by_rate[1:-1])]
    assert 0 < sum(signs) < len(signs)


@pytest.mark.parametrize("count", range(12))
def test_an_order_that_spreads_is_an_order(count):
    assert sorted(spread_order(count)) == [*range(count)]


@pytest.mark.parametrize(("trials", "options"), [(4, 2), (6, 2), (6, 3), (8, 4), (8, 2)])
def test_every_option_meets_low_and_high_rates_equally_often(trials, options):
    tried = rates(trials)
    turns = options_in_turn([options], tried)
    assert turns[0] == [0], "the default's trial has the default"
    along = [turn for _, (turn,) in sorted(zip(tried, turns, strict=True))]
    for start in range(trials - options + 1):
        assert sorted(along[start : start + options]) == [*range(options)], "neighbouring rates differ in the option"


def test_two_choices_of_as_many_options_are_not_tied_to_each_other():
    pairs = {tuple(turn) for turn in options_in_turn([2, 2], rates(4))}
    assert len(pairs) == 4


def test_a_plan_tries_the_same_rates_on_every_row_and_each_number_of_experts_at_both_ends():
    plan = a_plan(tuning={"trials": 6})
    shared = {group.shared for group in map(hashable, plan.groups)}
    assert len(shared) == 1
    group = group_of(plan, "sparse_topk")
    by_rate = [trial["experts"] for trial in sorted(group.trials, key=lambda trial: trial["lr"])]
    assert by_rate in ([8, 16] * 3, [16, 8] * 3)
    other = group_of(plan, "soft_moe")
    assert [trial["experts"] for trial in other.trials] == [trial["experts"] for trial in group.trials]


def test_another_task_seed_or_row_changes_no_rate():
    plans = [a_plan(), a_plan(seeds=5)]
    one, other = (group_of(plan, "dense").shared for plan in plans)
    assert one == other == tuple(shared_design((1e-3, 1e-1, 1e-2), DECAY, 4))


def test_an_option_that_does_not_fit_gives_way_to_a_draw():
    space = {"experts": {"options": [8, 16], "default": 8}}
    asked = ask(space, 6, sampler="grid", seed=3, rates=rates(6), fits=lambda drawn: drawn["experts"] == 8)
    assert asked == [{"experts": 8}] * 6


def test_ranges_are_drawn_apart_from_the_rates():
    space = {"x": {"low": 1e-3, "high": 1e-1, "default": 1e-2, "log": True}}
    grid = ask(space, 6, sampler="grid", seed=3, rates=rates(6))
    assert grid == ask(space, 6, sampler="random", seed=3)


def hashable(group):
    class Shared:
        shared = tuple(tuple(sorted(trial.items())) for trial in group.shared)

    return Shared
