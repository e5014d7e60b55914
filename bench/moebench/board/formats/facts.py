"""What was held equal, as (name, value) pairs that a person reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from moebench.board.formats import numbers, words
from moebench.board.model import Board, TaskNote


def held_equal(board: Board) -> list[tuple[str, str]]:
    """Budget, effort, data, training, arithmetic, host and software; once where all tasks have the same."""
    facts = [("budget", words.amount(board, rung.budget)) for rung in board.rungs]
    facts += [
        ("tuning", f"{board.trials} trials, {board.sampler} search"),
        ("training seeds", str(board.seeds)),
    ]
    for name, read in _OF_A_TASK.items():
        values = {task.label: read(task) for task in board.tasks}
        if len(set(values.values())) == 1:
            facts.append((name, next(iter(values.values()))))
        else:
            facts += [(f"{name}, {label}", value) for label, value in values.items()]
    software = ", ".join(f"{package} {version}" for package, version in board.versions.items())
    return [*facts, ("software", software)] if software else facts


def fact(value: object) -> str:
    """A setting, or several of them: ``vit, dim 64``."""
    if isinstance(value, Mapping):
        return ", ".join(fact(item) if name == "name" else f"{name} {fact(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return " ".join(map(fact, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else numbers.setting(value)


def _data(task: TaskNote) -> str:
    known = task.held_equal
    named = [("split", known.get("split")), ("digest", known.get("data_digest"))]
    return ", ".join([task.label, *(f"{name} {value}" for name, value in named if value)])


def _training(task: TaskNote) -> str:
    known = task.held_equal
    micro = f" in micro-batches of {known['micro_batch']}" if known.get("micro_batch") else ""
    return f"{known['steps']:,} steps of batch {known['batch']}{micro}"


def _arithmetic(task: TaskNote) -> str:
    threads = task.held_equal["threads"]
    return f"{task.held_equal['precision']}, {threads} thread{'' if threads == 1 else 's'}"


def _host(task: TaskNote) -> str:
    return fact(task.held_equal["host"])


_OF_A_TASK: Mapping[str, Callable[[TaskNote], Any]] = {
    "data": _data,
    "training": _training,
    "arithmetic": _arithmetic,
    "host": _host,
}
