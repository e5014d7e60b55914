"""The answer to an engineer's limits, in a terminal, as Markdown and as JSON."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from moebench.board import words
from moebench.board.choose import Choice, Chosen
from moebench.board.data import dump, measure
from moebench.board.markdown import escape, table
from moebench.board.model import Board
from moebench.board.numbers import latency, p_value, plain, rank, short, shown_name, with_interval
from moebench.board.rules import ALPHA
from moebench.board.table import TextColumn, print_columns, say

WIDTH = 100
"""Where the output is no terminal."""

TITLES = ("rank", "variant", "score", "behind the first", "p", "latency", "active")


def cells(chosen: Chosen) -> list[str]:
    """The texts of a row, under :data:`TITLES`."""
    entry = chosen.entry
    return [
        rank(chosen.rank),
        shown_name(entry.variant),
        with_interval(entry.representation),
        with_interval(chosen.behind, sign=True),
        p_value(chosen.p_value),
        latency(entry.latency),
        short(entry.counts.active_params if entry.counts else None),
    ]


def notes(choice: Choice) -> list[str]:
    """How sure the first place is, what may not meet the limits after all, and what does not meet them."""
    said = [_first(choice)]
    said += [
        f"{shown_name(each.entry.variant)} may not meet them: {each.unsure.text}."
        for each in choice.chosen
        if each.unsure
    ]
    for each in choice.excluded:
        name, reason = shown_name(each.entry.variant), plain(each.reason.text).rstrip(".")
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
    behind = [each for each in others if each.p_value is not None and each.p_value < ALPHA]
    level = [shown_name(each.entry.variant) for each in others if each not in behind]
    if not level:
        return f"{name} is first: clearly better than every other ranked row that meets the limits{left_out}."
    rest = f"clearly better than {len(behind)} of {len(others)} others, and not told apart from {', '.join(level)}"
    return f"{name} has the best score that meets the limits; it is {rest}{left_out}."


def print_choices(board: Board, choices: list[Choice]) -> None:
    """A table and its notes for each budget."""
    console = Console()
    console = console if console.is_terminal else Console(width=WIDTH, color_system=None)
    for choice in choices:
        say(console, Text(words.heading(board, choice.budget), style="bold"))
        metric = words.score_name(board)
        say(console, f"{choice.limits.words}; ranked by test {metric} among the rows that meet this")
        if choice.chosen:
            lines = [cells(chosen) for chosen in choice.chosen]
            columns = [
                TextColumn(
                    title,
                    [texts[index] for texts in lines],
                    right=title in ("p", "latency", "active"),
                    gives_way=0 if title in TITLES[:3] else index,
                    folds=title == "variant",
                )
                for index, title in enumerate(TITLES)
            ]
            print_columns(console, columns, ["" if chosen.rank else "dim" for chosen in choice.chosen])
        for note in notes(choice):
            say(console, note)


def to_markdown(board: Board, choices: list[Choice]) -> str:
    """A heading, a table and the notes for each budget."""
    lines = []
    for choice in choices:
        lines += [f"## {escape(words.heading(board, choice.budget))}", "", f"{choice.limits.words.capitalize()}.", ""]
        if choice.chosen:
            lines += [*table(TITLES, map(cells, choice.chosen)), ""]
        lines += [*(f"- {escape(note)}" for note in notes(choice)), ""]
    return "\n".join(lines)


def to_json(board: Board, choices: list[Choice]) -> str:
    """One object; ``choices`` has one for each budget."""
    return dump(
        {
            "suite": board.suite,
            "protocol": board.protocol,
            "device": board.device,
            "choices": [_object(choice) for choice in choices],
        }
    )


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
            {"variant": each.entry.variant, "reason": each.reason.text, "for_sure": each.sure}
            for each in choice.excluded
        ],
        "first": _first(choice),
    }
