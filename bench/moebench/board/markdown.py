"""The board as GitHub's Markdown: for a README, a pull request, or the note of an MLflow experiment."""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Iterable, Sequence

from moebench.board import words
from moebench.board.columns import SHOWN
from moebench.board.model import Board, Entry, Rung
from moebench.board.numbers import on_task
from moebench.board.rules import RANK_RULE
from moebench.text import one_line

SPECIAL = re.compile(r"[\\`*|\[\]~$]|(?<![^\W_])_|_(?![^\W_])")
"""What begins or ends markup; an underscore does so at the edge of a word, and none within it does."""

CALLS = re.compile(r"@|#(?=\d)|:(?=//)|www(?=\.)", re.IGNORECASE)
"""What GitHub turns into a link: a name that is called, an issue, an address."""

WORD_JOINER = "\N{WORD JOINER}"


def to_markdown(board: Board) -> str:
    """A heading, what was held equal, and a table for each budget."""
    lines = [f"# {escape(board.title)}", "", escape(words.how_ranked(board)).replace("  ", "; ") + ".", ""]
    for rung in board.rungs:
        lines += _rung(board, rung)
    if found := words.other_runs(board):
        lines += [*named(found), ""]
    own_words = (*words.footer(board), RANK_RULE, words.calibrated(board))  # no name is in them
    for note in filter(None, (*own_words, escape(words.verified(board)))):
        lines += [note, ""]
    lines += ["Held equal for every row:", ""]
    lines += [f"- {escape(name)}: {escape(value)}" for name, value in words.shared_settings(board)]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Text that Markdown shows as it is, on one line: no markup, no HTML, no end of a table's cell, no link and no name
    that a pull request would call.
    """
    marked = SPECIAL.sub(r"\\\g<0>", one_line(text))
    return CALLS.sub(rf"\g<0>{WORD_JOINER}", html.escape(marked, quote=False))


def table(titles: Sequence[str], rows: Iterable[Sequence[str]], right: Collection[int] = ()) -> list[str]:
    """The lines of a table; ``right``: the columns that are set to the right, from 0."""
    rule = " | ".join("---:" if index in right else "---" for index in range(len(titles)))
    return [line(titles), f"| {rule} |", *map(line, rows)]


def line(cells: Sequence[str]) -> str:
    """A line of a table, every cell as it is."""
    return f"| {' | '.join(map(escape, cells))} |"


def named(sentences: Iterable[tuple[str, str]], between: str = ": ") -> list[str]:
    """A list of sentences about rows."""
    return [f"- **{escape(name)}**{between}{escape(sentence)}" for name, sentence in sentences]


def _rung(board: Board, rung: Rung) -> list[str]:
    parts = [board.suite, f"protocol {board.protocol}", words.amount(board, rung.budget), board.device]
    lines = [f"## {', '.join(map(escape, parts))}", "", *_board_table(board, rung.entries), ""]
    if remarks := words.grouped(words.remarks(rung)):
        lines += [*named(remarks), ""]
    notes = (
        words.survival(rung),
        *words.against(rung),
        words.pareto(rung),
        words.specialization_note(rung),
        words.latency_note(board, rung),
        words.power(board, rung),
    )
    for note in filter(None, notes):
        lines += [escape(note), ""]
    if better := words.better(rung):
        lines += ["Significant differences, by Holm's rule over all pairs at this budget:", ""]
        lines += [*named(better, " is significantly better than "), ""]
    return lines


def _board_table(board: Board, entries: Sequence[Entry]) -> list[str]:
    """The shown columns, with the tasks' scores behind their mean where there are several."""
    titles, cells, right = list[str](), list[list[str]](), list[int]()
    for column in (each for each in SHOWN if each.on(board)):
        right += [len(titles)] if column.right else []
        titles.append(column.titled(board))
        cells.append(list(map(column.cell, entries)))
        if column.key == "representation" and len(board.tasks) > 1:
            titles += [task.name for task in board.tasks]
            cells += [[on_task(entry.tasks[n]) for entry in entries] for n in range(len(board.tasks))]
    return table(titles, zip(*cells, strict=True), right)
