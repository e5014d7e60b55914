"""What Optuna is asked: the default first, then the same settings every time, none that cannot meet the budget."""

import subprocess
import sys

import optuna
import pytest

from moebench.plans.ask import ask, shared_draws

SPACE = {
    "experts": {"options": [8, 16, 32, 64], "default": 16},
    "switch": {"options": [False, True, 1, None, "x"], "default": True},
    "fixed": {"options": ["only"], "default": "only"},
    "weight": {"low": 1e-3, "high": 1e-1, "default": 1e-2, "log": True},
    "share": {"low": -1.0, "high": 1.0, "default": 0.0, "log": False},
}
DEFAULTS = {"experts": 16, "switch": True, "fixed": "only", "weight": 1e-2, "share": 0.0}
RANGES = {"lr": (1e-4, 1e-1, 3e-3), "weight_decay": (1e-3, 0.3, 0.05)}


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_trial_0_is_the_default_and_the_rest_is_the_same_every_time(sampler):
    first = ask(SPACE, 6, sampler=sampler, seed=3)
    assert first[0] == DEFAULTS
    assert ask(SPACE, 6, sampler=sampler, seed=3) == first
    assert ask(SPACE, 6, sampler=sampler, seed=4)[1:] != first[1:]


def test_fewer_random_trials_are_the_first_of_more():
    many = ask(SPACE, 20, sampler="random", seed=3)
    assert ask(SPACE, 5, sampler="random", seed=3) == many[:5]


def test_what_is_asked_does_not_depend_on_what_was_told_before():
    """The random sampler learns nothing, so that trials may end in any order."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3))
    distributions = {"x": optuna.distributions.FloatDistribution(0.0, 1.0)}
    told = []
    for value in range(5):
        trial = study.ask(distributions)
        told.append(trial.params["x"])
        study.tell(trial, value)
    space = {"x": {"low": 0.0, "high": 1.0, "default": 0.5}}
    assert [each["x"] for each in ask(space, 6, sampler="random", seed=3)[1:]] == told


def test_options_keep_their_type_and_ranges_their_bounds():
    trials = ask(SPACE, 200, sampler="random", seed=3)
    assert {(type(trial["switch"]), trial["switch"]) for trial in trials} == {
        (bool, False),
        (bool, True),
        (int, 1),
        (type(None), None),
        (str, "x"),
    }
    assert {trial["experts"] for trial in trials} == {8, 16, 32, 64}
    assert all(1e-3 <= trial["weight"] <= 1e-1 and -1 <= trial["share"] <= 1 for trial in trials)
    below = sum(trial["weight"] < 1e-2 for trial in trials)
    assert 70 < below < 130, "not uniform in its logarithm"


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_what_cannot_meet_the_budget_is_drawn_again(sampler):
    trials = ask(SPACE, 10, sampler=sampler, seed=3, fits=lambda settings: settings["experts"] == 16)
    assert len(trials) == 10
    assert {trial["experts"] for trial in trials} == {16}


def test_a_space_that_hardly_ever_meets_the_budget_is_given_up():
    assert ask(SPACE, 3, sampler="random", seed=3, fits=lambda settings: False) == [DEFAULTS]


def test_an_empty_space_has_trials_too():
    assert ask({}, 3, sampler="random", seed=3) == [{}, {}, {}]


def told(count, score):
    trials = ask(SPACE, count, sampler="tpe", seed=3)
    return [(trial, score(trial)) for trial in trials]


def test_a_generation_is_the_same_for_the_same_told_values_and_starts_with_no_default():
    history = told(12, lambda trial: trial["share"])
    first = ask(SPACE, 4, sampler="tpe", seed=3, told=history)
    assert ask(SPACE, 4, sampler="tpe", seed=3, told=history) == first
    assert DEFAULTS not in first
    assert len({tuple(trial.values()) for trial in first}) == 4


def test_tpe_maximises_what_it_is_told():
    up = ask(SPACE, 8, sampler="tpe", seed=3, told=told(20, lambda trial: trial["share"]))
    down = ask(SPACE, 8, sampler="tpe", seed=3, told=told(20, lambda trial: -trial["share"]))
    assert sum(trial["share"] for trial in up) > sum(trial["share"] for trial in down)


def test_options_that_are_equal_but_not_the_same_are_told_apart():
    """True and 1 are two options; told as the same, TPE would learn from the wrong one."""
    from moebench.plans.ask import _encode

    dimension = SPACE["switch"]
    assert [_encode(dimension, value) for value in dimension["options"]] == [0, 1, 2, 3, 4]


def test_shared_draws_begin_with_the_default_and_are_the_same_every_time():
    draws = shared_draws(RANGES, 100, seed=5)
    assert draws[0] == {"lr": 3e-3, "weight_decay": 0.05}
    assert draws == shared_draws(RANGES, 100, seed=5)
    assert draws[:3] == shared_draws(RANGES, 3, seed=5)
    assert draws[1:] != shared_draws(RANGES, 100, seed=6)[1:]
    assert all(1e-4 <= draw["lr"] <= 1e-1 and 1e-3 <= draw["weight_decay"] <= 0.3 for draw in draws)
    assert 30 < sum(draw["lr"] < 10**-2.5 for draw in draws) < 70, "not uniform in its logarithm"


def test_asking_pays_for_no_torch():
    code = "import sys, moebench.plans.ask as a; a.ask({}, 2, sampler='tpe', seed=1); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
