"""The settings of each trial, asked of a seeded Optuna study; the same every time, whoever runs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from moebench.contract.space import Choice, Dimension, Value

SHARED = ("lr", "weight_decay")
"""Settings of the training loop: drawn once per task and trial, and enqueued for every variant."""

DRAWS_PER_TRIAL = 100
"""Draws after which a space that hardly ever meets the budget is given up."""

Told = Sequence[tuple[Mapping[str, Value], float]]


def shared_draws(ranges: Mapping[str, tuple[float, float, float]], trials: int, seed: int) -> list[dict[str, float]]:
    """Learning rate and weight decay of each trial: the defaults first, then log-uniform draws.

    ranges: name -> (low, high, default).
    """
    import optuna

    study = _study("random", seed)
    dimensions = {
        name: optuna.distributions.FloatDistribution(low, high, log=True) for name, (low, high, _) in ranges.items()
    }
    draws = [{name: default for name, (_, _, default) in ranges.items()}]
    draws += [dict(study.ask(dimensions).params) for _ in range(trials - 1)]
    return draws


def ask(
    space: Mapping[str, Dimension],
    count: int,
    *,
    sampler: Literal["random", "tpe"],
    seed: int,
    told: Told = (),
    fits: Callable[[Mapping[str, Value]], bool] = lambda settings: True,
) -> list[dict[str, Value]]:
    """The next ``count`` settings of a variant; trial 0 is its default.

    ``told`` are the earlier trials in order, with their validation scores (higher is better); the random sampler
    needs none. A draw that cannot meet the budget is drawn again before it becomes a trial, so that every variant
    trains the same number of trials.
    """
    dimensions = {name: _distribution(dimension) for name, dimension in space.items()}
    study = _study(sampler, seed + len(told))
    for settings, value in told:
        study.add_trial(_told_trial(space, dimensions, settings, value))
    asked: list[dict[str, Value]] = [] if told else [{n: d.default for n, d in space.items()}]
    for _ in range(DRAWS_PER_TRIAL * count):
        if len(asked) >= count:
            break
        params = study.ask(dimensions).params
        drawn = {name: _decode(dimension, params[name]) for name, dimension in space.items()}
        if fits(drawn):
            asked.append(drawn)
    return asked[:count]


def _told_trial(
    space: Mapping[str, Dimension], dimensions: Mapping[str, Any], settings: Mapping[str, Value], value: float
) -> Any:
    import optuna

    params = {name: _encode(dimension, settings[name]) for name, dimension in space.items()}
    return optuna.trial.create_trial(params=params, distributions=dict(dimensions), value=value)


def _study(sampler: str, seed: int) -> Any:
    """A maximising study; sampler and pruner are named because their defaults differ between Optuna's versions."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    samplers = {
        "random": lambda: optuna.samplers.RandomSampler(seed=seed),
        "tpe": lambda: optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True),
    }
    return optuna.create_study(
        direction="maximize", sampler=samplers[sampler](), pruner=optuna.pruners.NopPruner()
    )


def _distribution(dimension: Dimension) -> Any:
    import optuna

    if isinstance(dimension, Choice):
        return optuna.distributions.IntDistribution(0, len(dimension.options) - 1)
    return optuna.distributions.FloatDistribution(dimension.low, dimension.high, log=dimension.log)


def _encode(dimension: Dimension, value: Value) -> Any:
    """A choice is asked for by its place, so that options of any type survive."""
    return dimension.options.index(value) if isinstance(dimension, Choice) else value


def _decode(dimension: Dimension, value: Any) -> Value:
    return dimension.options[value] if isinstance(dimension, Choice) else value
