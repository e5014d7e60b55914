"""The next generation of a TPE study, once every earlier trial is settled; told in order, so it is the same anywhere."""

from __future__ import annotations

import dataclasses

from moebench.planning.plan import Group, Lookup, Plan
from moebench.tasks import get_task
from moebench.training.seeds import derive_seed


def grown(plan: Plan, lookup: Lookup) -> Plan:
    """The plan with every generation that the records allow; the same object if none is due."""
    if plan.suite.tuning.sampler == "random":
        return plan
    groups = tuple(_grown_group(plan, group, lookup) for group in plan.groups)
    return plan if groups == plan.groups else grown(dataclasses.replace(plan, groups=groups), lookup)


def _grown_group(plan: Plan, group: Group, lookup: Lookup) -> Group:
    missing = len(group.shared) - len(group.trials)
    values = [_value(group, lookup, cell.identity) for cell in group.trial_cells]
    if group.problem or missing <= 0 or any(value is None for value in values):
        return group
    from moebench.planning.space import from_plain  # imports torch; the random sampler never comes here
    from moebench.tuning.ask import SHARED, ask

    space = {name: from_plain(value) for name, value in group.space.items() if name not in SHARED}
    told = [
        ({name: settings[name] for name in space}, value)
        for settings, value in zip(group.trials, values, strict=True)
        if value is not None
    ]
    count = min(plan.suite.tuning.generation, missing)
    own = ask(space, count, sampler="tpe", seed=derive_seed(group.task, "sampler", 0), told=told)
    start = len(group.trials)
    return dataclasses.replace(
        group,
        trials=(*group.trials, *({**s, **group.shared[start + i]} for i, s in enumerate(own))),
        trial_seeds=(*group.trial_seeds, *(derive_seed(group.task, "trial", start + i) for i in range(count))),
    )


def _value(group: Group, lookup: Lookup, identity: str) -> float | None:
    record = lookup(identity)
    if record is None or not record.settled:
        return None
    score = record.scores.get("validation_accuracy") if record.status == "done" else None
    return get_task(group.task).info.floor if score is None else score
