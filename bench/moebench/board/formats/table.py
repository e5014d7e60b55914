"""The board in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import Console
from rich.text import Text

from moebench.board.formats import words
from moebench.board.formats.columns import Column, as_text, filled, fitted, say, width_of
from moebench.board.formats.numbers import MISSING, latency, rank, short, shown_name, with_interval
from moebench.board.model import Board, Entry, Measure, Rung
from moebench.board.shares import NO_EXPERTS
from moebench.planning.rows import BASELINE


def to_table(board: Board, width: int = 100) -> str:
    """The table as text of at most ``width`` characters a line, without colours."""
    return as_text(lambda console: print_board(board, console), width)


def print_board(board: Board, console: Console) -> None:
    """Print every budget's table with what a reader needs around it."""
    for index, rung in enumerate(board.rungs):
        if index:
            say(console, "")
        say(console, Text(words.heading(board, rung.budget), style="bold"))
        say(console, words.how_ranked(board))
        columns, hidden = _fitting(words.score_name(board), rung.entries, console.width)
        console.print(filled(columns, _styles(rung), console.width))
        if hidden:
            say(console, f"A wider terminal also shows: {', '.join(hidden)}.")
        if len(board.tasks) > 1:
            _print_tasks(board, rung, console)
        for name, sentence in words.remarks(rung):
            say(console, Text.assemble((f"{name}  ", "bold"), sentence))
        for note in (*words.against(rung), words.latency_note(board, rung)):
            say(console, note)
    for name, sentence in words.strangers(board):
        say(console, Text.assemble((f"{name}  ", "bold"), sentence))
    for note in filter(None, (*words.footer(board), words.verified(board))):
        say(console, note)


def _styles(rung: Rung) -> list[str]:
    return ["" if entry.rank else "dim" for entry in rung.entries]


def _fitting(score: str, entries: Sequence[Entry], width: int) -> tuple[list[Column], list[str]]:
    """The columns, and the titles of those that there was no room for; spaces go before columns do."""
    columns = _columns(score, entries, compact=False)
    return fitted(columns if width_of(columns) <= width else _columns(score, entries, compact=True), width)


def _columns(score: str, entries: Sequence[Entry], *, compact: bool) -> list[Column]:
    def interval(measure: Measure | None, places: int, *, sign: bool = False) -> str:
        text = with_interval(measure, places, sign=sign)
        return text.replace(" ±", "±") if compact else text

    def signed(measure: Measure | None) -> str:
        return interval(measure, 3, sign=True)

    def cells(cell: Callable[[Entry], str]) -> list[str]:
        return [cell(entry) for entry in entries]

    return [
        Column("rank", cells(lambda e: rank(e.rank))),
        Column("variant", cells(lambda e: shown_name(e.variant)), folds=True),
        Column(score, cells(lambda e: interval(e.representation, 3))),
        Column("vs dense", cells(lambda e: MISSING if e.variant == BASELINE else signed(e.vs_dense)), gives_way=1),
        Column("specialization", cells(lambda e: _no_experts(e) or interval(e.specialization, 2)), gives_way=2),
        Column("latency", cells(lambda e: latency(e.latency)), "right", gives_way=3),
        Column("active", cells(lambda e: short(e.counts.active_params if e.counts else None)), "right", gives_way=4),
        Column("FLOPs", cells(lambda e: short(e.counts.flops_per_input if e.counts else None)), "right", gives_way=5),
    ]


def _no_experts(entry: Entry) -> str:
    return entry.specialization_reason if entry.specialization_reason == NO_EXPERTS else ""


def _print_tasks(board: Board, rung: Rung, console: Console) -> None:
    """Each task on its own, for a mean over tasks hides which one made it."""
    columns = [Column("variant", [shown_name(entry.variant) for entry in rung.entries], folds=True)]
    for index, task in enumerate(board.tasks):
        columns.append(Column(task.name, [_on_task(index, entry) for entry in rung.entries]))
    say(console, "")
    console.print(filled(columns, _styles(rung), console.width))
    say(console, "")


def _on_task(index: int, entry: Entry) -> str:
    result = entry.tasks[index]
    return with_interval(result.score) if result.score else result.status
