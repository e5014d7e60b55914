"""The sentences around the table, the same in every format."""

from __future__ import annotations

from moebench.board.formats.numbers import plain
from moebench.board.model import Board, Rung
from moebench.board.rules import AXIS_WORDS, seeds_note

NO_EXPERTS = "no experts"
"""A reason short enough for the table itself."""


def amount(board: Board, budget: int) -> str:
    """The budget with what it counts: ``264,000 parameters in the expert layers (total)``."""
    counted = f"{budget:,} {AXIS_WORDS[board.axis]} in the expert layers"
    return f"{counted} (total)" if board.axis == "total" else counted


def heading(board: Board, budget: int) -> str:
    """What is compared: suite, protocol, tasks, budget of the expert layers, device."""
    tasks = ", ".join(task.name for task in board.tasks)
    parts = (board.suite, f"protocol {board.protocol}", tasks, amount(board, budget), board.device)
    return "  ".join(map(plain, parts))


def how_ranked(board: Board) -> str:
    """Effort, what ranks, and what the intervals are."""
    effort = f"{_count(board.seeds, 'seed')}, {_count(board.trials, 'trial')} ({board.sampler})"
    return f"{effort}  ranked by test {score_name(board)}  ± 95% interval over training seeds"


def score_name(board: Board) -> str:
    """What representation is on this board."""
    metrics = list(dict.fromkeys(task.metric for task in board.tasks))
    return metrics[0] if len(metrics) == 1 else "score"


def footer(board: Board) -> tuple[str, ...]:
    """What a reader must know to read the numbers."""
    notes = [seeds_note(board.seeds)]
    if board.seeds == 1:
        notes.append("One seed has no interval, so no row can be told from another.")
    if len(board.tasks) > 1:
        notes.append("Scores and counts are means over tasks; latency is the mean over tasks in each round.")
    return tuple(notes)


def remarks(rung: Rung) -> tuple[tuple[str, str], ...]:
    """(row, sentence): why it has no rank, what to beware of, why a headline is missing."""
    common = _common_latency_reason(rung)
    said = []
    for entry in rung.entries:
        sentences = [*([entry.reason] if entry.reason else []), *(f"{flag}." for flag in entry.flags)]
        if entry.representation is not None:
            if entry.specialization_reason not in ("", NO_EXPERTS):
                sentences.append(f"no specialization: {entry.specialization_reason}.")
            if entry.latency_reason and not common:
                sentences.append(f"no latency: {entry.latency_reason}.")
        said += [(plain(entry.variant), plain(sentence)) for sentence in sentences]
    return tuple(said)


def latency_note(board: Board, rung: Rung) -> str:
    """How latency was measured, or why no row has one."""
    if common := _common_latency_reason(rung):
        return f"Latency: {plain(common)}."
    return (
        f"Latency: whole-model forward pass at batch {board.latency_batch}, median over the rounds of a "
        "session in which all rows took turns; the ratio to dense is taken inside each round."
    )


def _common_latency_reason(rung: Rung) -> str:
    """The reason that all rows with a result share for having no latency; empty if any differs."""
    reasons = {entry.latency_reason for entry in rung.entries if entry.representation is not None}
    return reasons.pop() if len(reasons) == 1 else ""


def front(rung: Rung) -> str:
    """The rows on the Pareto front, or nothing where it cannot be known."""
    places = {name: [plain(e.variant) for e in rung.entries if e.pareto == name] for name in ("front", "undecided")}
    if not any(places.values()):
        return ""
    named = ", ".join(places["front"]) or "no row for certain"
    perhaps = f"; perhaps {', '.join(places['undecided'])}" if places["undecided"] else ""
    return f"On the Pareto front of representation, latency and active parameters: {named}{perhaps}."


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
