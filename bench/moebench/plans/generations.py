"""The next generation of a TPE study, once all before it is settled; told in order, so it is the same anywhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from moebench.plans.plan import SHARED, Group, Lookup, Plan, score_of
from moebench.training.seeds import derive_seed


def grown(plan: Plan, lookup: Lookup) -> Plan:
    """The plan with every generation that the records allow; the same object if none is due."""
    if plan.suite.tuning is None or plan.suite.tuning.sampler != "tpe":
        return plan
    groups = tuple(_grown_group(plan, group, lookup) for group in plan.groups)
    if all(new is old for new, old in zip(groups, plan.groups, strict=True)):
        return plan
    return grown(dataclasses.replace(plan, groups=groups), lookup)


def _grown_group(plan: Plan, group: Group, lookup: Lookup) -> Group:
    missing = len(group.shared) - len(group.trials)
    if group.problem or missing <= 0:
        return group
    values = [_value(group, lookup, cell.identity) for cell in group.trial_cells]
    if any(value is None for value in values):
        return group
    own = _next_generation(group, values, min(plan.suite.tuned.generation, missing))
    start = len(group.trials)
    if not own:
        return group
    return dataclasses.replace(
        group,
        trials=(*group.trials, *({**settings, **group.shared[start + i]} for i, settings in enumerate(own))),
        trial_seeds=(
            *group.trial_seeds,
            *(derive_seed(group.task, "trial", start + i) for i in range(len(own))),
        ),
    )


def _next_generation(group: Group, values: list[float | None], count: int) -> list[dict[str, Any]]:
    from moebench.plans.ask import ask  # imports optuna, which a plan whose trials are known does not need

    space = {name: value for name, value in group.space.items() if name not in SHARED}
    told = [
        ({name: settings[name] for name in space}, value)
        for settings, value in zip(group.trials, values, strict=True)
        if value is not None
    ]
    seed = derive_seed(group.task, "sampler", 0)
    return ask(space, count, sampler="tpe", seed=seed, told=told, fits=lambda drawn: _fits(group, drawn))


def _fits(group: Group, settings: Mapping[str, Any]) -> bool:
    return not any(chosen.items() <= settings.items() for chosen in group.unfit)


def _value(group: Group, lookup: Lookup, identity: str) -> float | None:
    """What a trial is told as, higher being better: its validation score that ranks, the floor if it diverged; None
    until it is settled.
    """
    record = lookup(identity)
    if record is None or not record.settled:
        return None
    return group.headline.difference(score_of(record, group.headline, "validation"), 0.0)
