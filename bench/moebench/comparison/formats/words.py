"""The texts of a comparison, the same in a terminal and as Markdown."""

from __future__ import annotations

from moebench.board.formats.numbers import MISSING, milliseconds, plain, shown_name, with_interval
from moebench.board.rules import ALPHA
from moebench.comparison.model import Comparison, Pair
from moebench.planning.rows import BASELINE


def summary(comparison: Comparison) -> str:
    """``1 worse, 2 better, 5 undecided``."""
    return ", ".join(f"{number} {verdict}" for verdict, number in comparison.counts.items())


def titles(comparison: Comparison) -> list[str]:
    """Of the columns of :func:`cells`, which all comparisons have in this order."""
    return ["verdict", "row", *_budget(comparison), "A", "B", "B - A", "p", *_tasks(comparison), *_latency(comparison)]


def cells(comparison: Comparison, pair: Pair) -> list[str]:
    """The texts of a row, as many as there are titles."""
    on_task = {each.task: with_interval(each.value, sign=True) for each in pair.tasks}
    return [
        pair.verdict,
        shown_name(pair.row),
        *(f"{pair.budget:,}" for _ in _budget(comparison)),
        with_interval(pair.a),
        with_interval(pair.b),
        with_interval(pair.difference, sign=True),
        _p(pair.p_value),
        *(on_task.get(task, MISSING) for task in _tasks(comparison)),
        *(_speed(pair) for _ in _latency(comparison)),
    ]


def notes(comparison: Comparison) -> list[str]:
    """Why rows are not compared, what else differs, how verdicts are made, why latency is not compared."""
    ladder = bool(_budget(comparison))
    said = [
        f"{shown_name(pair.row)}{f' at {pair.budget:,}' if ladder else ''}: {plain(pair.reason)}."
        for pair in comparison.pairs
        if pair.reason
    ]
    said += [f"Beside the scores, A and B differ in {plain(found)}." for found in [_changed(comparison)] if found]
    said += [_rule(comparison)] if any(pair.p_value is not None for pair in comparison.pairs) else []
    said += [f"{plain(comparison.no_latency)}."] if comparison.no_latency else []
    return [*said, LATENCY] if _latency(comparison) else said


LATENCY = (
    "Latency: median over the rounds of a session, slower or faster where the 95 % intervals are apart; it has no part "
    f"in the verdict. The two sessions took no turns, so a busier machine is in it too: the row {BASELINE} shows one."
)


def _rule(comparison: Comparison) -> str:
    side = "higher" if comparison.higher_is_better else "lower"
    mean = "mean over tasks, " if _tasks(comparison) else ""
    said = (
        f"B - A is the difference of the test {comparison.metric}, {side} is better, {mean}paired by seed, with its "
        f"95 % interval. A row is better or worse where p, adjusted by Holm's rule over all rows, is below {ALPHA:.2g}."
    )
    return f"{said} Single tasks are shown without adjustment." if mean else said


def _budget(comparison: Comparison) -> list[str]:
    return ["budget"] if len({pair.budget for pair in comparison.pairs}) > 1 else []


def _tasks(comparison: Comparison) -> list[str]:
    return list(dict.fromkeys(each.task for pair in comparison.pairs for each in pair.tasks))


def _latency(comparison: Comparison) -> list[str]:
    return ["latency A to B"] if any(pair.latency for pair in comparison.pairs) else []


def _speed(pair: Pair) -> str:
    """``1.32 to 1.62 ms, slower``; milliseconds alone where nothing is decided."""
    if pair.latency is None:
        return MISSING
    a, b = (milliseconds(side.value) for side in pair.latency)
    told = "" if pair.speed == "undecided" else f", {pair.speed}"
    return f"{a.removesuffix(' ms')} to {b}{told}"


def _p(value: float | None) -> str:
    if value is None:
        return MISSING
    return "<0.001" if value < 0.001 else f"{value:.3f}"


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
