"""The board as one page that needs nothing else: no network, and whole without its script."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from moebench.board import charts, numbers, words
from moebench.board.columns import COUNTED, DETAILS, SHOWN, Column
from moebench.board.model import Board, Entry, EntryProvenance, Estimate, Rung, Score, TaskResult
from moebench.board.rules import NULL, RANK_RULE
from moebench.board.style import looks_of, theme, variable
from moebench.measures.scores.shares import SHARES, in_words
from moebench.plans.rows import BASELINE
from moebench.statistics import chance_better
from moebench.text import printable

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

WIDTH = 100.0
"""Of the small drawings in the table, whatever their size on the page."""

MARGIN = 0.04
"""Share of a scale that is left free at both ends."""

PER_SHARE = {
    "accuracy_selected": "own experts",
    "accuracy_static": "same experts for all",
    "accuracy_random": "random experts",
    "retained": "retained",
    "mass_kept": "mass kept",
}
"""Scores that exist once for each share of the experts, and their columns on the page."""


FIRST = (
    "representation",
    "vs_dense",
    "compute_multiplier",
    "routing_worth",
    "gain_recovered",
    "latency",
    "active_params",
)
"""The columns that are shown until a reader chooses others, beside rank and name."""

FIRST_WITH_LADDER = ("representation", "compute_multiplier", "routing_worth", "gain_recovered", "latency")
"""Those of a board that knows what its layers are worth in compute."""

MOST_PAIRED = 40
"""Ranked rows of which every pair is shown."""


@dataclass(frozen=True)
class Band:
    """A row's band: its number from 0, the places that it spans, and whether the row is its first."""

    number: int
    places: str
    first: bool


@dataclass(frozen=True)
class Pairs:
    """For each ranked row, in their order, its cells against each: (chance of being better in per cent, whether the
    two differ significantly); (None, False) against itself and where nothing is known.
    """

    names: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[int | None, bool], ...]], ...]


def to_html(board: Board) -> str:
    """The page's text. Names are escaped wherever they stand."""
    environment, shown = _environment(), [column for column in SHOWN if column.on(board)]
    script = _without_gaps(environment.get_template("page.js").render())
    text = environment.get_template("page.html.j2").render(
        board=board,
        script=script,
        # The browser runs this text and no other, whatever a name might smuggle in.
        script_digest=b64encode(sha256(script.encode()).digest()).decode(),
        theme=theme(),
        best_score="high" if board.tasks[0].higher_is_better else "low",
        ladder=charts.of_ladder(board),
        other_runs=words.other_runs(board),
        words=words,
        rank_rule=RANK_RULE,
        shared_settings=words.shared_settings(board),
        shown=shown,
        extra=[
            column.key for column in shown[2:] if column.key not in (FIRST_WITH_LADDER if board.dense_ladder else FIRST)
        ],
        hideable=[*(column.key for column in shown[2:]), *(f"task-{n}" for n in range(len(board.tasks)))],
        lines=lines_of(board),
        details=[column for column in DETAILS if column.known(board)],
        counted=COUNTED,
        baseline=BASELINE,
        parts=[_parts(board, index) for index in range(len(board.rungs))],
    )
    return _without_gaps(text)


def _without_gaps(text: str) -> str:
    """Without empty lines, which templates leave where a row has nothing to say."""
    return re.sub(r"\n{2,}", "\n", text)


def environment_of(*packages: str) -> Environment:
    """For pages from the templates of packages, those of the first before those of the next."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package, "templates") for package in packages]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_printable,
    )
    environment.filters |= {"fixed": numbers.fixed, "short": numbers.short}
    return environment


@cache
def _environment() -> Environment:
    environment = environment_of("moebench.board")
    environment.filters |= {
        "bounds": numbers.bounds,
        "half": numbers.half,
        "around": around,
        "rank": numbers.rank,
        "milliseconds": numbers.milliseconds,
        "setting": words.fact,
        "breakable": breakable,
        "moment": numbers.moment,
        "curve": curve,
    }
    environment.globals |= {
        "shares": {key: in_words(key) for key in SHARES},
        "per_share": PER_SHARE,
        "value_of": value_of,
        "other_scores": other_scores,
        "versions_of": versions_of,
    }
    return environment


def _printable(value: Any) -> Any:
    """No control characters; what is already HTML stays as it is."""
    return printable(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _parts(board: Board, index: int) -> dict[str, Any]:
    """A budget's rows in groups, its charts, and the scales that the table's drawings share."""
    rung = board.rungs[index]
    entries = rung.entries
    groups = {
        "Ranked": [entry for entry in entries if entry.rank],
        "Not ranked": [entry for entry in entries if not entry.rank and not entry.reference],
        "Reference rows, not ranked": [entry for entry in entries if not entry.rank and entry.reference],
    }
    return {
        "rung": rung,
        "bands": bands_of(entries),
        "colours": {name: variable(paint.colour) for name, paint in looks_of(board).items()},
        "pairs": pairs_of(rung),
        "task_scales": [
            Scale.over((entry.tasks[n].score for entry in entries), marks=_marks(entries, n))
            for n in range(len(board.tasks))
        ],
        "charts": charts.of_rung(board, index),
        "place": {entry.variant: place for place, entry in enumerate(entries)},
        "groups": {title: rows for title, rows in groups.items() if rows},
        "scales": {
            column.key: Scale.over(map(column.measure, entries), marks=_marks_of(column, entries))
            if column.drawn
            else None
            for column in SHOWN
            if column.kind == "interval" and column.best
        },
    }


def _marks_of(column: Column, entries: Sequence[Entry]) -> list[float]:
    """Where a column's drawings have a line: at its mark, and those of the scores at dense and the null router."""
    if column.key == "representation":
        return _marks(entries, None)
    return [] if column.mark is None else [column.mark]


def _marks(entries: Sequence[Entry], task: int | None) -> list[float]:
    scores = (entry.representation if task is None else entry.tasks[task].score for entry in crossing(entries))
    return [score.value for score in scores if score]


def crossing(entries: Sequence[Entry]) -> list[Entry]:
    """The rows at whose scores a line crosses the column: dense, and the router that nothing can steer."""
    dense = [entry for entry in entries if entry.variant == BASELINE]
    return [*dense, *[entry for entry in entries if entry.implementation == NULL][:1]]


def lines_of(board: Board) -> str:
    """Which rows these are, in words."""
    names = [numbers.shown_name(entry.variant) for entry in crossing(board.entries)]
    return " and ".join(names) or "none"


def bands_of(entries: Sequence[Entry]) -> dict[str, Band]:
    """By name of each ranked row. A band goes on until a row is significantly worse than its first."""
    groups: list[list[Entry]] = []
    for entry in entries:
        if entry.rank is None:
            continue
        if groups and entry.variant not in groups[-1][0].better_than:
            groups[-1].append(entry)
        else:
            groups.append([entry])
    found, before = dict[str, Band](), 0
    for number, group in enumerate(groups):
        places = numbers.rank((before + 1, before + len(group)))
        found |= {entry.variant: Band(number, places, entry is group[0]) for entry in group}
        before += len(group)
    return found


def pairs_of(rung: Rung) -> Pairs | None:
    """None of fewer than two ranked rows, and of very many."""
    ranked = [entry for entry in rung.entries if entry.rank]
    if not 2 <= len(ranked) <= MOST_PAIRED:
        return None
    scores = {e.variant: list(zip(*(task.seeds for task in e.tasks), strict=True)) for e in ranked}
    higher = ranked[0].tasks[0].higher_is_better

    def cell(a: Entry, b: Entry) -> tuple[int | None, bool]:
        clear = b.variant in a.better_than or a.variant in b.better_than
        chance = None if a is b else chance_better(scores[a.variant], scores[b.variant], higher)
        return None if chance is None else round(100 * chance), clear

    names = tuple(entry.variant for entry in ranked)
    return Pairs(names, tuple((a.variant, tuple(cell(a, b) for b in ranked)) for a in ranked))


def around(text: str) -> Markup:
    """``1.41x (1.24 to 1.61)`` with its bounds set back."""
    from markupsafe import Markup

    value, _, bounds = text.partition(" (")
    return (
        Markup('{} <span class="soft ends">{}</span>').format(value, bounds.rstrip(")"))
        if bounds
        else Markup("{}").format(value)
    )


def breakable(name: str) -> Markup:
    """A name isolated from the text beside it, whatever its direction; may break after an underscore."""
    from markupsafe import Markup, escape

    return Markup("<bdi>{}</bdi>").format(escape(numbers.shown_name(name)).replace("_", Markup("_<wbr>")))


def versions_of(provenance: EntryProvenance, board: Board) -> str:
    """The software that a row's runs do not share with the whole board."""
    own = [f"{name} {version}" for name, version in provenance.versions.items() if version != board.versions.get(name)]
    return ", ".join(own) or "as the whole board"


def value_of(task: TaskResult, name: str) -> float | None:
    """A score beside the headlines, by name; None where it has no value."""
    return next((score.measure.value for score in task.scores if score.name == name and score.measure), None)


def other_scores(task: TaskResult) -> list[tuple[str, Score]]:
    """(name in words, score) of those that have no column of their own."""
    columns = {f"{name}_{share}" for name in PER_SHARE for share in SHARES}
    return [(score.name.replace("_", " "), score) for score in task.scores if score.name not in columns]


@dataclass(frozen=True)
class Scale:
    """A linear scale over everything that is drawn with it."""

    low: float
    high: float
    marks: tuple[float, ...] = ()

    @classmethod
    def over(cls, measures: Iterable[Estimate | None], *, marks: Sequence[float] = ()) -> Scale | None:
        """The scale that holds all intervals and the marks; None where there is nothing to draw."""
        ends = [end for m in measures if m for end in (m.value, m.low, m.high) if end is not None]
        if not ends:
            return None
        ends += marks
        low, high = min(ends), max(ends)
        margin = MARGIN * (high - low) or 0.5
        return cls(low - margin, high + margin, tuple(marks))

    def at(self, value: float | None) -> float | None:
        """Where a value lies, to a tenth; None for None."""
        return None if value is None else round(WIDTH * (value - self.low) / (self.high - self.low), 1)

    def bar(self, measure: Estimate) -> dict[str, Any]:
        """Places of a value, its interval and the scale's marks; without bounds it is a point."""
        value = self.at(measure.value)
        low, high = self.at(measure.low), self.at(measure.high)
        return {
            "value": value,
            "low": value if low is None else low,
            "high": value if high is None else high,
            "marks": [self.at(mark) for mark in self.marks],
        }


def curve(values: Sequence[float], height: float = 30.0) -> str:
    """The points of an SVG polyline, the largest value at the top; empty for fewer than two values."""
    if len(values) < 2:
        return ""
    low, span, step = min(values), max(values) - min(values), WIDTH / (len(values) - 1)
    heights = [height * (1 - ((value - low) / span if span else 0.5)) for value in values]
    return " ".join(f"{index * step:.1f},{place:.1f}" for index, place in enumerate(heights))
