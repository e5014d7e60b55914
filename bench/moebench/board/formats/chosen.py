"""The answer to an engineer's limits, in a terminal, as Markdown and as JSON."""

from __future__ import annotations

import json
from typing import Any

from moebench.board.choose import Choice, Chosen
from moebench.board.formats import words
from moebench.board.formats.json_object import measure
from moebench.board.formats.markdown import escape
from moebench.board.formats.numbers import MISSING, bounds, latency, plain, rank, short, shown_name, with_interval
from moebench.board.model import Board

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
    unsure = [chosen for chosen in choice.chosen if not chosen.sure]
    said = [_first(choice)]
    said += [
        f"{shown_name(each.entry.variant)} may not meet them: its latency ratio lies in {bounds(ratio, 2)}."
        for each in unsure
        if each.entry.latency and (ratio := each.entry.latency.ratio_to_dense)
    ]
    said += [f"not {shown_name(name)}: {plain(reason).rstrip('.')}." for name, reason in choice.excluded]
    return said


def _first(choice: Choice) -> str:
    ranked = [chosen for chosen in choice.chosen if chosen.rank]
    if not ranked:
        return "No ranked row meets the limits."
    first, *others = ranked
    name = shown_name(first.entry.variant)
    if not others:
        return f"{name} is the only ranked row that meets the limits."
    told = [each for each in others if each.p_value is not None and each.p_value < 0.05]
    level = [shown_name(each.entry.variant) for each in others if each not in told]
    if not level:
        return f"{name} is first: clearly better than every other ranked row that meets the limits."
    rest = f"clearly better than {len(told)} of {len(others)} others, and not told apart from {', '.join(level)}"
    return f"{name} has the best score that meets the limits; it is {rest}."


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
                "meets_for_sure": each.sure,
                "representation": measure(each.entry.representation),
                "behind_first": measure(each.behind),
                "p_value": each.p_value,
                "latency": measure(each.entry.latency),
                "active_params": each.entry.counts.active_params if each.entry.counts else None,
            }
            for each in choice.chosen
        ],
        "excluded": [{"variant": name, "reason": reason} for name, reason in choice.excluded],
        "first": _first(choice),
    }
