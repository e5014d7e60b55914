"""The answer to an engineer's limits, in a terminal, as Markdown and as JSON."""

from __future__ import annotations

import json
from typing import Any

from moebench.board.choose import Choice, Chosen
from moebench.board.formats import words
from moebench.board.formats.json_object import measure
from moebench.board.formats.markdown import escape
from moebench.board.formats.numbers import MISSING, latency, plain, rank, short, shown_name, with_interval
from moebench.board.model import Board
from moebench.board.rules import ALPHA

TITLES = ("rank", "variant", "score", "behind the first", "p", "latency", "active")


def cells(chosen: Chosen) -> list[str]:
    """The texts of a row, under :data:`TITLES`."""
    entry = chosen.entry
    p = MISSING if chosen.p_value is None else "<0.001" if chosen.p_value < 0.001 else f"{chosen.p_value:.3f}"
    return [
        rank(chosen.rank),
        shown_name(entry.variant),
        with_interval(entry.representation),
        with_interval(chosen.behind, sign=True),
        p,
        latency(entry.latency),
        short(entry.counts.active_params if entry.counts else None),
    ]


def notes(choice: Choice) -> list[str]:
    """How sure the first place is, what may not meet the limits after all, and what does not meet them."""
    said = [_first(choice)]
    said += [
        f"{shown_name(each.entry.variant)} may not meet them: {each.unsure}." for each in choice.chosen if each.unsure
    ]
    for each in choice.excluded:
        name, reason = shown_name(each.entry.variant), plain(each.reason).rstrip(".")
        said.append(f"not {name}: {reason}." if each.sure else f"not {name}, though it may meet them: {reason}.")
    return said


def _first(choice: Choice) -> str:
    ranked = [chosen for chosen in choice.chosen if chosen.rank]
    near = [shown_name(each.entry.variant) for each in choice.excluded if each.entry.rank and not each.sure]
    left_out = f"; not compared: {', '.join(near)}, which may meet them, too" if near else ""
    if not ranked:
        return f"No ranked row meets the limits{left_out}."
    first, *others = ranked
    name = shown_name(first.entry.variant)
    if not others:
        return f"{name} is the only ranked row that meets the limits{left_out}."
    told = [each for each in others if each.p_value is not None and each.p_value < ALPHA]
    level = [shown_name(each.entry.variant) for each in others if each not in told]
    if not level:
        return f"{name} is first: clearly better than every other ranked row that meets the limits{left_out}."
    rest = f"clearly better than {len(told)} of {len(others)} others, and not told apart from {', '.join(level)}"
    return f"{name} has the best score that meets the limits; it is {rest}{left_out}."


def to_markdown(board: Board, choices: list[Choice]) -> str:
    """A heading, a table and the notes for each budget."""
    lines = []
    for choice in choices:
        lines += [f"## {escape(words.heading(board, choice.budget))}", "", f"{choice.limits.words.capitalize()}.", ""]
        if choice.chosen:
            lines += [f"| {' | '.join(TITLES)} |", f"|{' --- |' * len(TITLES)}"]
            lines += [*(f"| {' | '.join(map(escape, cells(chosen)))} |" for chosen in choice.chosen), ""]
        lines += [*(f"- {escape(note)}" for note in notes(choice)), ""]
    return "\n".join(lines)


def to_json(board: Board, choices: list[Choice]) -> str:
    """One object; ``choices`` has one for each budget."""
    value = {
        "suite": board.suite,
        "protocol": board.protocol,
        "device": board.device,
        "choices": [_object(choice) for choice in choices],
    }
    return json.dumps(value, indent=1, allow_nan=False) + "\n"


def _object(choice: Choice) -> dict[str, Any]:
    return {
        "budget": choice.budget,
        "max_latency_ratio": choice.limits.latency_ratio,
        "max_active": choice.limits.active,
        "chosen": [
            {
                "variant": each.entry.variant,
                "reference": each.entry.reference,
                "rank": list(each.rank) if each.rank else None,
                "meets_for_sure": not each.unsure,
                "representation": measure(each.entry.representation),
                "behind_first": measure(each.behind),
                "p_value": each.p_value,
                "latency": measure(each.entry.latency),
                "active_params": each.entry.counts.active_params if each.entry.counts else None,
                "active_params_by_task": {
                    task.name: task.counts.active_params for task in each.entry.tasks if task.counts
                },
            }
            for each in choice.chosen
        ],
        "excluded": [
            {"variant": each.entry.variant, "reason": each.reason, "for_sure": each.sure} for each in choice.excluded
        ],
        "first": _first(choice),
    }
