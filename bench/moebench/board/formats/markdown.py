"""The board as GitHub's Markdown: for a README, a pull request, or the note of an MLflow experiment."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from moebench.board.formats import facts, words
from moebench.board.formats.numbers import latency, plain, rank, short, shown_name, with_interval
from moebench.board.model import Board, Entry, Rung
from moebench.board.rules import RANK_RULE
from moebench.board.shares import NO_EXPERTS
from moebench.planning.rows import BASELINE

SPECIAL = re.compile(r"[\\`*|\[\]~$]|(?<![^\W_])_|_(?![^\W_])")
"""What begins or ends markup; an underscore does so at the edge of a word, and none within it does."""

CALLS = re.compile(r"@|#(?=\d)|:(?=//)|www(?=\.)", re.IGNORECASE)
"""What GitHub makes a link of by itself: a name that is called, an issue, an address."""

WORD_JOINER = "\N{WORD JOINER}"


def to_markdown(board: Board) -> str:
    """A heading, what was held equal, and a table for each budget."""
    lines = [f"# {escape(board.title)}", "", escape(words.how_ranked(board)).replace("  ", "; ") + ".", ""]
    for rung in board.rungs:
        lines += _rung(board, rung)
    if found := words.strangers(board):
        lines += [*(f"- **{escape(name)}**: {escape(sentence)}" for name, sentence in found), ""]
    own_words = (*words.footer(board), RANK_RULE, words.calibrated(board))  # no name is in them
    for note in filter(None, (*own_words, escape(words.verified(board)))):
        lines += [note, ""]
    lines += _held_equal(board)
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Text that Markdown shows as it is, on one line: no markup, no HTML, no end of a table's cell, no link and no name
    that a pull request would call.
    """
    marked = SPECIAL.sub(r"\\\g<0>", plain(text))
    return CALLS.sub(rf"\g<0>{WORD_JOINER}", html.escape(marked, quote=False))


def _rung(board: Board, rung: Rung) -> list[str]:
    parts = [board.suite, f"protocol {board.protocol}", words.amount(board, rung.budget), board.device]
    lines = [f"## {', '.join(map(escape, parts))}", "", *_table(board, rung.entries), ""]
    lines += [f"- **{escape(name)}**: {escape(sentence)}" for name, sentence in words.remarks(rung)]
    lines += [""] if words.remarks(rung) else []
    for note in filter(None, (*words.against(rung), words.front(rung), words.latency_note(board, rung))):
        lines += [escape(note), ""]
    if told := words.told_apart(rung):
        lines += ["Told apart, by Holm's rule over all pairs at this budget:", ""]
        lines += [*(f"- **{escape(name)}** is clearly better than {escape(names)}" for name, names in told), ""]
    return lines


def _table(board: Board, entries: Sequence[Entry]) -> list[str]:
    tasks = [task.name for task in board.tasks] if len(board.tasks) > 1 else []
    titles = ["rank", "variant", words.score_name(board), *tasks, "vs dense", "specialization"]
    titles += ["latency", "active parameters", "FLOPs per input"]
    rule = ["---:" if title in ("latency", "active parameters", "FLOPs per input") else "---" for title in titles]
    return [_line(titles), f"| {' | '.join(rule)} |", *(_line(_cells(entry, tasks)) for entry in entries)]


def _cells(entry: Entry, tasks: Sequence[str]) -> list[str]:
    counts = entry.counts
    special = entry.specialization_reason
    return [
        rank(entry.rank),
        shown_name(entry.variant),
        with_interval(entry.representation),
        *(with_interval(task.score) if task.score else task.status for task in entry.tasks[: len(tasks)]),
        "-" if entry.variant == BASELINE else with_interval(entry.vs_dense, sign=True),
        special if special == NO_EXPERTS else with_interval(entry.specialization, 2),
        latency(entry.latency),
        short(counts.active_params if counts else None),
        short(counts.flops_per_input if counts else None),
    ]


def _held_equal(board: Board) -> list[str]:
    lines = [f"- {escape(name)}: {escape(value)}" for name, value in facts.held_equal(board)]
    return ["Held equal for every row:", "", *lines]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(escape, cells))} |"
