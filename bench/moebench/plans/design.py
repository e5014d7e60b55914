"""The fixed design of tuning: which learning rates and weight decays are tried, and which options meet which rate.

It depends on the ranges and on the number of trials alone, so it is the same for every row, task and seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log

DIGITS = 4
"""Significant digits of a value, so that it is the same on every machine."""

GOLDEN = (5**0.5 - 1) / 2

Bounds = tuple[float, float, float]
"""low, high, default."""


def shared_design(lr: Bounds, weight_decay: Bounds, trials: int) -> list[dict[str, float]]:
    """Learning rate and weight decay of each trial: the defaults first, then from the default rate outwards.

    Either takes as many values as there are trials, each once. The default rate has the default decay, the smallest
    rate the largest decay, the largest rate the smallest; in between the decays are in an order of golden-ratio steps,
    which rises and falls along the rates.
    """
    rates, decays = log_grid(*lr, trials), log_grid(*weight_decay, trials)
    paired = {lr[2]: weight_decay[2]}
    other_rates = [rate for rate in rates if rate != lr[2]]
    other_decays = [decay for decay in decays if decay != weight_decay[2]]
    inner = spread_order(len(other_rates) - 2)
    order = [len(other_rates) - 1, *(1 + place for place in inner), 0][: len(other_rates)]
    paired |= {rate: other_decays[place] for rate, place in zip(other_rates, order, strict=True)}
    outwards = sorted(rates, key=lambda rate: (round(abs(log(rate / lr[2])), 3), rate))
    return [{"lr": rate, "weight_decay": paired[rate]} for rate in outwards]


def log_grid(low: float, high: float, default: float, count: int) -> list[float]:
    """``count`` values from low to high, evenly spaced in their logarithm; the one nearest to the default is it."""
    if count == 1:
        return [default]
    step = log(high / low) / (count - 1)
    grid = [low, *(float(f"{low * exp(step * place):.{DIGITS}g}") for place in range(1, count - 1)), high]
    nearest = min(range(count), key=lambda place: abs(log(grid[place] / default)))
    grid[nearest] = default
    return grid


def spread_order(count: int) -> list[int]:
    """0 to count - 1 in an order in which neighbours lie far apart: the ranks of multiples of the golden ratio."""
    steps = [(place + 1) * GOLDEN % 1 for place in range(count)]
    return [sorted(steps).index(step) for step in steps]


def options_in_turn(options: Sequence[int], rates: Sequence[float]) -> list[list[int]]:
    """For each trial the place of the option of every choice; ``options`` has the number of options of each.

    Along the rates a choice goes through its options in turn, so each meets low, middle and high rates. A further
    choice of as many options moves on by one after each turn, so it is not tied to the first. Trial 0 has place 0.
    """
    places = [sorted(rates).index(rate) for rate in rates]
    turns = []
    for index, count in enumerate(options):
        shift, order = list(options[:index]).count(count), spread_order(count)
        steps = [(place + shift * (place // count)) % count for place in places]
        turns.append([order[(step - steps[0] + order.index(0)) % count] for step in steps])
    return [list(trial) for trial in zip(*turns, strict=True)] if turns else [[] for _ in rates]
