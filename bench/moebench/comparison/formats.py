"""A comparison in a terminal, as Markdown for a pull request, and as JSON."""

from __future__ import annotations

import json
from typing import Any

from moebench.board.formats.json_object import measure
from moebench.board.formats.markdown import escape
from moebench.board.formats.numbers import MISSING, milliseconds, plain, shown_name, with_interval
from moebench.comparison.model import Comparison, Pair


def summary(comparison: Comparison) -> str:
    """``1 worse, 2 better, 5 undecided``."""
    return ", ".join(f"{number} {verdict}" for verdict, number in comparison.counts.items())


def titles(comparison: Comparison) -> list[str]:
    """Of the columns of :func:`cells`."""
    tasks = next((pair.tasks for pair in comparison.pairs if pair.tasks), ())
    budget = ["budget"] if len({pair.budget for pair in comparison.pairs}) > 1 else []
    latency = ["latency A to B"] if any(pair.latency for pair in comparison.pairs) else []
    return ["verdict", "row", *budget, "A", "B", "B - A", "p", *(each.task for each in tasks), *latency]


def cells(comparison: Comparison, pair: Pair) -> list[str]:
    """The texts of a row, as many as there are titles."""
    found = {
        "verdict": pair.verdict,
        "row": shown_name(pair.row),
        "budget": f"{pair.budget:,}",
        "A": with_interval(pair.a),
        "B": with_interval(pair.b),
        "B - A": with_interval(pair.difference, sign=True),
        "p": _p(pair.p_value),
        "latency A to B": _latency(pair),
        **{each.task: with_interval(each.value, sign=True) for each in pair.tasks},
    }
    return [found.get(title, MISSING) for title in titles(comparison)]


def notes(comparison: Comparison) -> list[str]:
    """Why rows are not compared, how verdicts are made, why latency is not."""
    said = [
        f"{shown_name(pair.row)} at {pair.budget:,}: {plain(pair.reason)}." for pair in comparison.pairs if pair.reason
    ]
    side = "higher" if comparison.higher_is_better else "lower"
    said.append(
        f"B - A is the difference of the test {comparison.metric}, {side} is better, mean over tasks, paired by seed, "
        "with its 95 % interval. A row is better or worse where p, adjusted by Holm's rule over all rows, is below "
        "0.05."
    )
    return [*said, f"{plain(comparison.no_latency)}."] if comparison.no_latency else said


def to_markdown(comparison: Comparison) -> str:
    """A heading with the summary, a table, and notes."""
    head = titles(comparison)
    lines = [f"### {escape(comparison.suite)}: {summary(comparison)}", ""]
    lines += [f"A is `{_code(comparison.a)}`, B is `{_code(comparison.b)}`.", ""]
    lines += [f"| {' | '.join(map(escape, head))} |", f"|{' --- |' * len(head)}"]
    lines += [f"| {' | '.join(map(escape, cells(comparison, pair)))} |" for pair in comparison.pairs]
    return "\n".join([*lines, "", *(f"- {escape(note)}" for note in notes(comparison))]) + "\n"


def to_json(comparison: Comparison) -> str:
    """One object, in full precision."""
    value = {
        "suite": comparison.suite,
        "a": comparison.a,
        "b": comparison.b,
        "metric": comparison.metric,
        "higher_is_better": comparison.higher_is_better,
        "counts": comparison.counts,
        "no_latency": comparison.no_latency or None,
        "pairs": [_object(pair) for pair in comparison.pairs],
    }
    return json.dumps(value, indent=1, allow_nan=False) + "\n"


def _object(pair: Pair) -> dict[str, Any]:
    return {
        "row": pair.row,
        "budget": pair.budget,
        "verdict": pair.verdict,
        "a": measure(pair.a),
        "b": measure(pair.b),
        "difference": measure(pair.difference),
        "p_value": pair.p_value,
        "seeds": pair.seeds,
        "tasks": {each.task: measure(each.value) for each in pair.tasks},
        "latency": [measure(side) for side in pair.latency] if pair.latency else None,
        "speed": pair.speed or None,
        "reason": pair.reason or None,
    }


def _latency(pair: Pair) -> str:
    if pair.latency is None:
        return MISSING
    a, b = pair.latency
    return f"{milliseconds(a.value)} to {milliseconds(b.value)}: {pair.speed}"


def _p(value: float | None) -> str:
    if value is None:
        return MISSING
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _code(text: str) -> str:
    return plain(text).replace("`", "'")
