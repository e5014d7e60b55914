"""What keeps a row of A from being compared with the row of that name in B, as one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from moebench.board.evidence import Evidence
from moebench.board.frame import differences, in_words
from moebench.board.reasons import off_budget
from moebench.planning.plan import Plan
from moebench.suites.schema import Range, Tuning

EFFORT: Mapping[str, str] = MappingProxyType(
    {
        "trials": "the number of trials",
        "sampler": "the sampler",
        "lr": "the range of lr",
        "weight_decay": "the range of weight_decay",
    }
)
"""What a suite says of tuning, in words."""


def apart(a: Plan, b: Plan, of_a: Evidence, of_b: Evidence) -> str:
    """The first of: other tasks, another frame, another tuning effort, a side that misses its budget; else empty."""
    return (
        _tasks(of_a, of_b)
        or _frame(of_a, of_b)
        or _effort(a.suite.tuning, b.suite.tuning)
        or _size("A", a, of_a)
        or _size("B", b, of_b)
    )


def _tasks(a: Evidence, b: Evidence) -> str:
    names = [[study.info.name for study in each.studies] for each in (a, b)]
    if sorted(names[0]) == sorted(names[1]):
        return ""
    return "tasks are {} in A and {} in B".format(*map(", ".join, names))


def _frame(a: Evidence, b: Evidence) -> str:
    """Of the first task whose cells have another frame, all that differs."""
    others = {study.info.name: study.group for study in b.studies}
    for study in a.studies:
        own, other = study.group, others[study.info.name]
        assert own is not None
        assert other is not None
        if found := differences(own.template, other.template):
            where = f"on {study.info.name}, " if len(a.studies) > 1 else ""
            return where + ", ".join(_say(*each) for each in found)
    return ""


def _effort(a: Tuning, b: Tuning) -> str:
    """Tuning effort is held equal on a board, and a row that was tuned longer is better for that alone."""
    for name, said in EFFORT.items():
        own, other = getattr(a, name), getattr(b, name)
        if own != other:
            return _say(said, _in_words(own), _in_words(other))
    return ""


def _size(name: str, plan: Plan, evidence: Evidence) -> str:
    reason = off_budget(evidence, plan.suite.axis)
    return f"in {name} {reason.partition('; ')[0]}" if reason else ""


def _say(name: str, in_a: str, in_b: str) -> str:
    return f"{name} is {in_a} in A and {in_b} in B"


def _in_words(value: object) -> str:
    if isinstance(value, Range):
        return f"{value.low:g} to {value.high:g} (default {value.default:g})"
    return in_words(value)
