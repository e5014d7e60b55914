"""The settings of each trial, of the fixed design or asked of a seeded Optuna study; the same every time.

A dimension is given as plain values, as a plan keeps it, so that asking imports no torch: ``{"options": [...],
"default": ...}``, or ``{"low": ..., "high": ..., "default": ..., "log": ...}``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import optuna

from moebench.plans.design import options_in_turn

Value = bool | int | float | str | None
Plain = Mapping[str, Any]

DRAWS_PER_TRIAL = 100
"""Draws after which a space that hardly ever meets the budget is given up."""

IN_TURN = 10
"""Draws of the ranges for which a trial keeps the options of the fixed design, before it draws these, too."""

Sampler = Literal["grid", "random", "tpe"]
Told = Sequence[tuple[Mapping[str, Value], float]]


def shared_draws(ranges: Mapping[str, tuple[float, float, float]], trials: int, seed: int) -> list[dict[str, float]]:
    """Learning rate and weight decay of each trial of the sampler ``random``: defaults first, then log-uniform draws.

    ranges: name -> (low, high, default).
    """
    study = _study("random", seed)
    dimensions = {
        name: optuna.distributions.FloatDistribution(low, high, log=True) for name, (low, high, _) in ranges.items()
    }
    draws = [{name: default for name, (_, _, default) in ranges.items()}]
    draws += [dict(study.ask(dimensions).params) for _ in range(trials - 1)]
    return draws


def ask(
    space: Mapping[str, Plain],
    count: int,
    *,
    sampler: Sampler,
    seed: int,
    told: Told = (),
    fits: Callable[[Mapping[str, Value]], bool] = lambda settings: True,
    rates: Sequence[float] = (),
) -> list[dict[str, Value]]:
    """The next ``count`` settings of a variant; trial 0 is its default.

    ``told`` are the earlier trials in order, with their validation scores (higher is better); only ``tpe`` needs them.
    ``rates``: of ``grid``, the learning rate of each trial; choices then take their options in turn along them, and
    ranges are drawn independently of them. A draw that cannot meet the budget is drawn again before it becomes a trial,
    so that every variant trains the same number of trials; fewer than ``count`` come back where hardly any draw does.
    """
    dimensions = {name: _distribution(dimension) for name, dimension in space.items()}
    study = _study(sampler, seed + len(told))
    for settings, value in told:
        study.add_trial(_told_trial(space, dimensions, settings, value))
    asked = [] if told else [{name: dimension["default"] for name, dimension in space.items()}]
    in_turn, refused = _in_turn(space, rates), 0
    for _ in range(DRAWS_PER_TRIAL * count):
        if len(asked) >= count:
            break
        trial = study.ask(dimensions)
        drawn = {name: _decode(dimension, trial.params[name]) for name, dimension in space.items()}
        if in_turn and refused < IN_TURN:
            drawn |= in_turn[len(asked)]
        if fits(drawn):
            asked.append(drawn)
            refused = 0
        else:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            refused += 1
    return asked[:count]


def _in_turn(space: Mapping[str, Plain], rates: Sequence[float]) -> list[dict[str, Value]]:
    """The options of every choice, trial by trial; nothing without ``rates``."""
    places = {
        name: [default, *(place for place in range(len(dimension["options"])) if place != default)]
        for name, dimension in space.items()
        if "options" in dimension
        for default in [_encode(dimension, dimension["default"])]
    }
    turns = options_in_turn([len(each) for each in places.values()], rates)
    return [
        {name: _decode(space[name], each[place]) for (name, each), place in zip(places.items(), turn, strict=True)}
        for turn in turns
    ]


def _told_trial(
    space: Mapping[str, Plain], dimensions: Mapping[str, Any], settings: Mapping[str, Value], value: float
) -> Any:
    params = {name: _encode(dimension, settings[name]) for name, dimension in space.items()}
    return optuna.trial.create_trial(params=params, distributions=dict(dimensions), value=value)


def _study(sampler: Sampler, seed: int) -> Any:
    """A maximising study; sampler and pruner are named because their defaults differ between Optuna's versions."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    chosen: optuna.samplers.BaseSampler = optuna.samplers.RandomSampler(seed=seed)
    if sampler == "tpe":
        chosen = optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
    return optuna.create_study(direction="maximize", sampler=chosen, pruner=optuna.pruners.NopPruner())


def _distribution(dimension: Plain) -> Any:
    if "options" in dimension:
        return optuna.distributions.IntDistribution(0, len(dimension["options"]) - 1)
    return optuna.distributions.FloatDistribution(dimension["low"], dimension["high"], log=dimension.get("log", False))


def _encode(dimension: Plain, value: Value) -> Any:
    """A choice is asked for by its place, so that options of any type survive; True is not 1."""
    if "options" not in dimension:
        return value
    places = (
        place for place, option in enumerate(dimension["options"]) if type(option) is type(value) and option == value
    )
    return next(places)


def _decode(dimension: Plain, value: Any) -> Any:
    return dimension["options"][value] if "options" in dimension else value
