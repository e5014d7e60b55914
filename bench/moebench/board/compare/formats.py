"""A comparison for a terminal, for a pull request, and for programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from moebench.board import markdown
from moebench.board.compare.verdicts import Comparison, Pair, Times, Verdict, speed
from moebench.board.data import dump
from moebench.board.markdown import escape
from moebench.board.numbers import MISSING, milliseconds, p_value, shown_name, with_interval
from moebench.board.rules import ALPHA, LEVEL
from moebench.board.table import TextColumn, as_text, print_columns, say
from moebench.plans.rows import BASELINE
from moebench.text import one_line

STAYS = ("verdict", "row", "budget", "B - A")
"""Of the other columns, those on the right give way first in a narrow terminal."""

STYLES: Mapping[Verdict, str] = {"worse": "red", "better": "green"}

LATENCY = (
    "Latency: median over the rounds of a session, slower or faster where the 95 % intervals are apart; it has no part "
    f"in the verdict. The two sessions took no turns, so a busier machine is in it too: the row {BASELINE} shows one."
)


def to_table(comparison: Comparison, width: int = 100) -> str:
    """The table as text of at most ``width`` characters a line, without colours."""
    return as_text(lambda console: print_table(comparison, console), width)


def print_table(comparison: Comparison, console: Console) -> None:
    """Print the summary, a line for each row, and what a reader needs beside it."""
    say(console, Text(f"{one_line(comparison.suite)}: {summary(comparison)}", style="bold"))
    say(console, f"A {one_line(comparison.a)}   B {one_line(comparison.b)}")
    lines = [cells(comparison, pair) for pair in comparison.pairs]
    columns = [
        TextColumn(
            title,
            [line[index] for line in lines],
            gives_way=0 if title in STAYS else index + 1,
            folds=title == "row",
        )
        for index, title in enumerate(titles(comparison))
    ]
    print_columns(console, columns, [STYLES.get(pair.verdict, "") for pair in comparison.pairs])
    for note in notes(comparison):
        say(console, note)


def to_markdown(comparison: Comparison) -> str:
    """A heading with the summary, a table, and notes; names are shown as they are."""
    lines = [f"### {escape(comparison.suite)}: {summary(comparison)}", ""]
    lines += [f"A is `{_code(comparison.a)}`, B is `{_code(comparison.b)}`.", ""]
    lines += markdown.table(titles(comparison), [cells(comparison, pair) for pair in comparison.pairs])
    return "\n".join([*lines, "", *(f"- {escape(note)}" for note in notes(comparison))]) + "\n"


def to_json(comparison: Comparison) -> str:
    """Text of the object, ending in a newline; numbers in full precision."""
    return dump(
        {
            "suite": comparison.suite,
            "a": comparison.a,
            "b": comparison.b,
            "metric": comparison.metric,
            "higher_is_better": comparison.higher_is_better,
            "level": LEVEL,
            "counts": comparison.counts,
            "no_latency": comparison.no_latency,
            "pairs": [_object(pair) for pair in comparison.pairs],
        }
    )


TEXTS: Mapping[str, Callable[[Comparison], str]] = {"table": to_table, "md": to_markdown, "json": to_json}
"""What makes the text of each format, by name."""


def summary(comparison: Comparison) -> str:
    """``1 worse, 2 better, 5 undecided``."""
    return ", ".join(f"{number} {verdict}" for verdict, number in comparison.counts.items())


def titles(comparison: Comparison) -> list[str]:
    """Of the columns of :func:`cells`, which all comparisons have in this order."""
    return ["verdict", "row", *_budget(comparison), "A", "B", "B - A", "p", *_tasks(comparison), *_latency(comparison)]


def cells(comparison: Comparison, pair: Pair) -> list[str]:
    """The texts of a row, as many as there are titles."""
    return [
        pair.verdict,
        shown_name(pair.row),
        *(f"{pair.budget:,}" for _ in _budget(comparison)),
        with_interval(pair.a),
        with_interval(pair.b),
        with_interval(pair.difference, sign=True),
        p_value(pair.p_value),
        *(with_interval(pair.tasks.get(task), sign=True) for task in _tasks(comparison)),
        *(_speed(times(pair)) for times in _latency(comparison).values()),
    ]


def notes(comparison: Comparison) -> list[str]:
    """Why rows are not compared, what else differs, how verdicts are made, why latency is not compared."""
    ladder = bool(_budget(comparison))
    found = [
        f"{shown_name(pair.row)}{f' at {pair.budget:,}' if ladder else ''}: {one_line(reasons)}."
        for pair in comparison.pairs
        if (reasons := _reasons(pair))
    ]
    if changed := _changed(comparison):
        found.append(f"Beside the scores, A and B differ in {one_line(changed)}.")
    found += [_rule(comparison)] if any(pair.p_value is not None for pair in comparison.pairs) else []
    found += [f"{one_line(comparison.no_latency.text)}."] if comparison.no_latency else []
    return [*found, LATENCY] if _latency(comparison) else found


def _rule(comparison: Comparison) -> str:
    side = "higher" if comparison.higher_is_better else "lower"
    mean = "mean over tasks, " if _tasks(comparison) else ""
    rule = (
        f"B - A is the difference of the test {comparison.metric}, {side} is better, {mean}paired by seed, with its "
        f"95 % interval. A row is better or worse where p, adjusted by Holm's rule over all rows, is below {ALPHA:.2g}."
    )
    return f"{rule} Single tasks are shown without adjustment." if mean else rule


def _budget(comparison: Comparison) -> list[str]:
    return ["budget"] if len({pair.budget for pair in comparison.pairs}) > 1 else []


def _tasks(comparison: Comparison) -> list[str]:
    return list(dict.fromkeys(task for pair in comparison.pairs for task in pair.tasks))


def _latency(comparison: Comparison) -> dict[str, Callable[[Pair], Times | None]]:
    """The columns that any row has something for: title -> what it shows."""
    columns: dict[str, Callable[[Pair], Times | None]] = {
        "latency A to B": lambda pair: pair.latency,
        "batch 1 A to B": lambda pair: pair.latency_batch1,
    }
    return {title: times for title, times in columns.items() if any(map(times, comparison.pairs))}


def _speed(times: Times | None) -> str:
    """``1.32 to 1.62 ms, slower``; milliseconds alone where nothing is decided."""
    if times is None:
        return MISSING
    a, b = (milliseconds(side.value) for side in times)
    found = speed(times)
    return f"{a.removesuffix(' ms')} to {b}{'' if found == 'undecided' else f', {found}'}"


def _changed(comparison: Comparison) -> str:
    """``code (soft_moe), torch: 2.14.1 to 2.15.0 (every row)``."""
    compared = [pair for pair in comparison.pairs if pair.seeds]
    rows: dict[str, list[str]] = {}
    for pair in compared:
        for change in pair.changed:
            rows.setdefault(change, []).append(shown_name(pair.row))
    return ", ".join(
        f"{change} ({'every row' if len(names) == len(compared) else ', '.join(dict.fromkeys(names))})"
        for change, names in rows.items()
    )


def _object(pair: Pair) -> dict[str, Any]:
    return {
        "row": pair.row,
        "budget": pair.budget,
        "verdict": pair.verdict,
        "a": pair.a,
        "b": pair.b,
        "difference": pair.difference,
        "p_value": pair.p_value,
        "seeds": pair.seeds,
        "tasks": pair.tasks,
        "changed": pair.changed,
        "latency": pair.latency,
        "speed": speed(pair.latency) or None,
        "latency_batch1": pair.latency_batch1,
        "speed_batch1": speed(pair.latency_batch1) or None,
        "reason": _reasons(pair) or None,
    }


def _reasons(pair: Pair) -> str:
    return "; ".join(reason.text for reason in pair.reasons)


def _code(path: str) -> str:
    """What a code span shows as it is."""
    return one_line(path).replace("`", "'")
