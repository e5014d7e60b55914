"""The engineer's question: which row is the best of those that meet limits on latency and size, and how sure is it?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import inf
from typing import Any

from rich.text import Text

from moebench.board import words
from moebench.board.data import dump
from moebench.board.markdown import escape, table
from moebench.board.model import Board, Entry, Estimate, Rung
from moebench.board.numbers import latency, p_value, rank, short, shown_name, with_interval
from moebench.board.reasons import Reason, beyond
from moebench.board.rules import ALPHA, LEVEL
from moebench.board.table import TextColumn, print_columns, say
from moebench.statistics import holm, rank_intervals, welch_interval, welch_test
from moebench.text import one_line, plain_console


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Whether a row meets the limits.

    met: by the values measured. reason: why it does not, or may not. sure: whether the intervals agree.
    rank: among the rows that meet them; None for a reference row. behind: its score less that of the first.
    p_value: of no difference from the first, adjusted by Holm's rule over all pairs of these rows, so that it
    agrees with the ranks.
    """

    entry: Entry
    met: bool
    sure: bool = True
    reason: Reason | None = None
    rank: tuple[int, int] | None = None
    behind: Estimate | None = None
    p_value: float | None = None


@dataclass(frozen=True, kw_only=True)
class RowLimits:
    """What a row must meet on every task: its latency as a ratio to dense, its active parameters. None: no limit.

    of_one: whether the latency is that of one input, not of the suite's batch.
    """

    latency_ratio: float | None = None
    active: int | None = None
    of_one: bool = False

    @property
    def words(self) -> str:
        """``latency at most 0.8x dense, at most 100,000 active parameters``."""
        latency = "latency at batch 1" if self.of_one else "latency"
        parts = [] if self.latency_ratio is None else [f"{latency} at most {self.latency_ratio:g}x dense"]
        parts += [] if self.active is None else [f"at most {self.active:,} active parameters"]
        return ", ".join(parts)

    def met_by(self, entry: Entry) -> Answer:
        """Whether a row meets them; one that is not compared for another reason does not."""
        if entry.representation is None or (entry.rank is None and not entry.reference):
            return Answer(entry=entry, met=False, reason=entry.reason)
        if reason := self._too_large(entry):
            return Answer(entry=entry, met=False, reason=reason)
        if self.latency_ratio is None:
            return Answer(entry=entry, met=True)
        return _fast_enough(entry, self.latency_ratio, self.of_one)

    def figures(self, entry: Entry) -> tuple[float, str] | None:
        """How many times its limit the worst figure of a row is, and its figures; None where one is unknown."""
        times, shown = list[float](), list[str]()
        if self.latency_ratio is not None:
            ratios = [ratio.value for ratio, _ in _ratios(entry, self.of_one)]
            if len(ratios) < len(entry.tasks):
                return None
            times.append(max(ratios) / self.latency_ratio)
            shown.append(f"{beyond(max(ratios), self.latency_ratio)}x")
        if self.active is not None:
            counted = [task.counts.active_params for task in entry.tasks if task.counts]
            if len(counted) < len(entry.tasks):
                return None
            times.append(max(counted) / self.active)
            shown.append(f"{max(counted):,} active parameters")
        return max(times), ", ".join(shown)

    def _too_large(self, entry: Entry) -> Reason | None:
        if self.active is None:
            return None
        counted = [(task.counts.active_params, task.name) for task in entry.tasks if task.counts]
        if len(counted) < len(entry.tasks):
            return Reason("active_unknown")
        most, task = max(counted)
        return None if most <= self.active else Reason("too_large", active=most, place=_place(task, entry))


@dataclass(frozen=True, kw_only=True)
class BudgetChoice:
    """At one budget: the rows that meet the limits, best first, then reference rows; the others with the reason."""

    budget: int
    limits: RowLimits
    chosen: tuple[Answer, ...]
    excluded: tuple[Answer, ...]


def choose(rung: Rung, limits: RowLimits, higher_is_better: bool) -> BudgetChoice:
    """Choose among the rows of a budget; ranks are made anew among those that meet the limits."""
    answers = [limits.met_by(entry) for entry in rung.entries]
    meeting = [answer for answer in answers if answer.met]
    ranked = sorted((each for each in meeting if each.entry.rank), key=_score, reverse=higher_is_better)
    references = [each for each in meeting if not each.entry.rank]
    return BudgetChoice(
        budget=rung.budget,
        limits=limits,
        chosen=(*_compared(ranked, higher_is_better), *references),
        excluded=tuple(answer for answer in answers if answer.reason and not answer.met),
    )


def _score(answer: Answer) -> float:
    assert answer.entry.representation is not None
    return answer.entry.representation.value


def _compared(ranked: Sequence[Answer], higher: bool) -> list[Answer]:
    """The ranked rows with their ranks among each other, and their differences from the first."""
    scores = [list(zip(*(task.seeds for task in each.entry.tasks), strict=True)) for each in ranked]
    ranks = rank_intervals({str(n): each for n, each in enumerate(scores)}, higher, ALPHA).values()
    adjusted = holm([welch_test(b, a).p_value for a, b in combinations(scores, 2)])
    compared = [replace(each, rank=rank) for each, rank in zip(ranked, ranks, strict=True)]
    for n, p in zip(range(1, len(ranked)), adjusted, strict=False):
        behind = Estimate.of(welch_interval(scores[n], scores[0], LEVEL), ranked[0].entry.tasks[0].unit)
        compared[n] = replace(compared[n], behind=behind, p_value=p)
    return compared


def _fast_enough(entry: Entry, limit: float, of_one: bool) -> Answer:
    ratios = _ratios(entry, of_one)
    if len(ratios) < len(entry.tasks):
        why = entry.latency_reason.text if entry.latency_reason else "it has no ratio to dense"
        return Answer(entry=entry, met=False, reason=Reason("latency_unknown", why=why))
    slowest, task = max(ratios, key=lambda each: each[0].value)
    if slowest.value > limit:
        sure = any(ratio.low is not None and ratio.low > limit for ratio, _ in ratios)
        bounds = "" if sure else _bounds(slowest)
        reason = Reason("too_slow", bounds=bounds, ratio=slowest.value, limit=limit, place=_place(task, entry))
        return Answer(entry=entry, met=False, sure=sure, reason=reason)
    unsure = [(ratio, name) for ratio, name in ratios if ratio.high is None or ratio.high > limit]
    if not unsure:
        return Answer(entry=entry, met=True)
    highest, task = max(unsure, key=lambda each: each[0].value)
    reason = Reason("perhaps_too_slow", place=_place(task, entry), bounds=_bounds(highest))
    return Answer(entry=entry, met=True, sure=False, reason=reason)


def _ratios(entry: Entry, of_one: bool) -> list[tuple[Estimate, str]]:
    """(ratio to dense, task) of the tasks on which it is known."""
    timed = [(task.latency_batch1 if of_one else task.latency, task.name) for task in entry.tasks]
    return [(each.ratio_to_dense, name) for each, name in timed if each and each.ratio_to_dense is not None]


def _place(task: str, entry: Entry) -> str:
    """The task where there are several, else nothing."""
    return task if len(entry.tasks) > 1 else ""


def _bounds(ratio: Estimate) -> str:
    return "unknown bounds" if ratio.low is None or ratio.high is None else f"{ratio.low:.2f} to {ratio.high:.2f}"


WIDTH = 100
"""Where the output is no terminal."""

TITLES = ("rank", "variant", "score", "behind the best", "p", "latency", "batch 1", "active")


def cells(chosen: Answer) -> list[str]:
    """The texts of a row, under :data:`TITLES`."""
    entry = chosen.entry
    return [
        rank(chosen.rank),
        shown_name(entry.variant),
        with_interval(entry.representation),
        with_interval(chosen.behind, sign=True),
        p_value(chosen.p_value),
        latency(entry.latency),
        latency(entry.latency_batch1),
        short(entry.counts.active_params if entry.counts else None),
    ]


def notes(choice: BudgetChoice) -> list[str]:
    """How sure the first place is, what may not meet the limits after all, and what does not meet them."""
    kinds: dict[tuple[str, str], list[tuple[str, str]]] = {}
    references = [(each, each.entry.reason) for each in choice.chosen if each.entry.reference]
    others = [(each, each.reason) for each in (*choice.chosen, *choice.excluded)]
    for each, reason in (*references, *others):
        if reason:
            title = REFERENCES if each.reason is not reason else "May not meet them" if each.met else NOT[each.sure]
            text = one_line(reason.text).removeprefix("reference row: ").rstrip(".")
            kinds.setdefault((title, reason.code), []).append((shown_name(each.entry.variant), text))
    lines = [f"{title}: {words.listed(_told(rows))}." for (title, _), rows in kinds.items()]
    return [_first(choice), how_surely(choice), *lines, *filter(None, [take(choice)])]


REFERENCES = "Reference rows"
NOT = {True: "Not", False: "Not, though perhaps they meet them"}
"""Whether that is sure -> how it begins."""


def _told(rows: Sequence[tuple[str, str]]) -> list[str]:
    """``a (its latency is 1.15x dense)``, ``b (4.37x dense)``: what the texts begin with alike stands once."""
    texts = dict.fromkeys(text for _, text in rows)
    begin = ""
    for word in next(iter(texts)).split(" ")[:-1]:
        longer = f"{begin}{word} "
        if len(texts) == 1 or not all(text.startswith(longer) for text in texts):
            break
        begin = longer
    return [
        f"{words.and_([name for name, its in rows if its == text])} ({text.removeprefix(begin) if place else text})"
        for place, text in enumerate(texts)
    ]


def by_speed(choice: BudgetChoice) -> list[Answer]:
    """The rows that meet the limits: those that tie with the best, the fastest first; the other ranked ones, the best
    first; reference rows.
    """
    level = _level(choice)
    fastest = sorted(level, key=lambda each: _ratio(each, choice.limits))
    return [*fastest, *(each for each in choice.chosen if each not in level)]


def _level(choice: BudgetChoice) -> list[Answer]:
    """The row of the best score, and those that do not differ significantly from it."""
    ranked = [each for each in choice.chosen if each.rank]
    return [each for each in ranked if each.p_value is None or each.p_value >= ALPHA]


def _ratio(answer: Answer, limits: RowLimits) -> float:
    """Its latency over that of dense; infinite where it is not known."""
    timing = answer.entry.latency_batch1 if limits.of_one else answer.entry.latency
    return timing.ratio_to_dense.value if timing and timing.ratio_to_dense else inf


def _active(answer: Answer) -> float:
    return answer.entry.counts.active_params if answer.entry.counts else inf


NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def take(choice: BudgetChoice) -> str:
    """The row to take, and another where active parameters count; empty where no ranked row meets the limits."""
    every, level = [each for each in choice.chosen if each.rank], _level(choice)
    # What meets the limits for sure goes before what may not.
    level = [each for each in level if each.sure] or level
    if not level:
        return ""
    best = min(level, key=lambda each: _ratio(each, choice.limits))
    known = f" ({ratio:.2f}x)" if (ratio := _ratio(best, choice.limits)) < inf else ""
    name = shown_name(best.entry.variant)
    if len(every) == 1:
        return f"Take {name}: the only ranked row that meets the limits{known}."
    if len(level) == 1:
        why = "ties with the best" if best.p_value is not None else "the best score"
        return f"Take {name}: {why}{known}."
    many = f"the {NUMBERS[len(level) - 2]}" if len(level) - 2 < len(NUMBERS) else str(len(level))
    fast = f", fastest of {many}{known}" if known else ""
    text = f"Take {name}: ties with the best{fast}"
    small = min(level, key=lambda each: (_active(each), _ratio(each, choice.limits)))
    if _active(small) < NOTABLY * _active(best):
        its = [short(_active(small)), *([f"{ratio:.2f}x"] if (ratio := _ratio(small, choice.limits)) < inf else [])]
        text += f"; {shown_name(small.entry.variant)} ({', '.join(its)}) if active parameters count"
    return f"{text}."


NOTABLY = 0.9
"""A row has notably fewer active parameters than another below this share of them."""


def how_surely(choice: BudgetChoice) -> str:
    """Which ranked rows meet the limits surely, perhaps, and not."""
    ranked = [each for each in (*choice.chosen, *choice.excluded) if each.entry.rank]
    kinds = {
        "Meets the limits surely": [each for each in ranked if each.met and each.sure],
        "perhaps": [each for each in ranked if not each.sure],
        "not": [each for each in ranked if not each.met and each.sure],
    }
    parts = [
        f"{kind}: {', '.join(shown_name(each.entry.variant) for each in rows) or 'no row'}"
        for kind, rows in kinds.items()
    ]
    return f"{'; '.join(parts)}."


def _first(choice: BudgetChoice) -> str:
    ranked = [chosen for chosen in choice.chosen if chosen.rank]
    near = [shown_name(each.entry.variant) for each in choice.excluded if each.entry.rank and not each.sure]
    left_out = f"; not compared: {', '.join(near)}, which may meet them, too" if near else ""
    if not ranked:
        return f"No ranked row meets the limits{_nearest(choice)}."
    first, *others = ranked
    name = shown_name(first.entry.variant)
    if not others:
        return f"{name} is the only ranked row that meets the limits{left_out}."
    behind = [each for each in others if each.p_value is not None and each.p_value < ALPHA]
    level = [shown_name(each.entry.variant) for each in others if each not in behind]
    if not level:
        return f"{name} is first: significantly better than every other ranked row that meets the limits{left_out}."
    rest = f"better than {len(behind)} of {len(others)} others, and does not differ significantly from"
    return f"{name} has the best score that meets the limits; it is significantly {rest} {', '.join(level)}{left_out}."


def _nearest(choice: BudgetChoice) -> str:
    """The ranked row whose figures are nearest to the limits, with them; empty where none is known."""
    ranked = [each for each in choice.excluded if each.entry.rank]
    known = [(each, found) for each in ranked if (found := choice.limits.figures(each.entry))]
    if not known:
        return ""
    answer, (_, figures) = min(known, key=lambda each: each[1][0])
    perhaps = "" if answer.sure else ", which may meet them, too"
    return f"; the nearest is {shown_name(answer.entry.variant)} ({figures}){perhaps}"


def print_choices(board: Board, choices: list[BudgetChoice]) -> None:
    """A table and its notes for each budget."""
    console = plain_console()
    console = console if console.is_terminal else plain_console(width=WIDTH, color_system=None)
    for choice in choices:
        say(console, Text(words.heading(board, choice.budget), style="bold"))
        metric = words.score_name(board)
        say(console, f"{choice.limits.words}; ranked by test {metric} among the rows that meet this")
        if choice.chosen:
            lines = [cells(chosen) for chosen in by_speed(choice)]
            columns = [
                TextColumn(
                    title,
                    [texts[index] for texts in lines],
                    right=title in TITLES[4:],
                    gives_way=0 if title in TITLES[:3] else index,
                    folds=title == "variant",
                )
                for index, title in enumerate(TITLES)
            ]
            print_columns(console, columns, ["" if chosen.rank else "dim" for chosen in by_speed(choice)])
        for note in notes(choice):
            say(console, note)


def to_markdown(board: Board, choices: list[BudgetChoice]) -> str:
    """A heading, a table and the notes for each budget."""
    lines = []
    for choice in choices:
        lines += [f"## {escape(words.heading(board, choice.budget))}", "", f"{choice.limits.words.capitalize()}.", ""]
        if choice.chosen:
            lines += [*table(TITLES, map(cells, by_speed(choice))), ""]
        lines += [*(f"- {escape(note)}" for note in notes(choice)), ""]
    return "\n".join(lines)


def to_json(board: Board, choices: list[BudgetChoice]) -> str:
    """One object; ``choices`` has one for each budget."""
    return dump(
        {
            "suite": board.suite,
            "protocol": board.protocol,
            "device": board.device,
            "choices": [_object(board, choice) for choice in choices],
        }
    )


def _object(board: Board, choice: BudgetChoice) -> dict[str, Any]:
    return {
        "budget": choice.budget,
        "max_latency_ratio": choice.limits.latency_ratio,
        "latency_batch": 1 if choice.limits.of_one else board.latency_batch,
        "max_active": choice.limits.active,
        "chosen": [
            {
                "variant": each.entry.variant,
                "reference": each.entry.reference,
                "rank": each.rank,
                "meets_for_sure": each.sure,
                "representation": each.entry.representation,
                "behind_first": each.behind,
                "p_value": each.p_value,
                "latency": each.entry.latency,
                "latency_batch1": each.entry.latency_batch1,
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
        "take": take(choice) or None,
    }
