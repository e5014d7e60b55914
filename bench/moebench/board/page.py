"""The board as one page that needs nothing else: no network, and whole without its script."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from moebench.board import charts, numbers, words
from moebench.board.columns import COUNTED, DETAILS, SHOWN
from moebench.board.model import Board, EntryProvenance, Estimate, Score, TaskResult
from moebench.board.rules import RANK_RULE
from moebench.board.style import theme
from moebench.measures.scores.shares import SHARES, in_words
from moebench.plans.rows import BASELINE
from moebench.text import printable

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

RUN_IN_MLFLOW = "http://127.0.0.1:5000/moebench/run/"
"""Where ``moebench ui`` shows the run of a record's identity, at its default port."""

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


def to_html(board: Board) -> str:
    """The page's text. Names are escaped wherever they stand."""
    environment = _environment()
    script = environment.get_template("page.js").render()
    return environment.get_template("page.html.j2").render(
        board=board,
        script=script,
        # The browser runs this text and no other, whatever a name might smuggle in.
        script_digest=b64encode(sha256(script.encode()).digest()).decode(),
        theme=theme(),
        ui=RUN_IN_MLFLOW,
        best_score="high" if board.tasks[0].higher_is_better else "low",
        ladder=charts.of_ladder(board),
        other_runs=words.other_runs(board),
        words=words,
        rank_rule=RANK_RULE,
        shared_settings=words.shared_settings(board),
        shown=[column for column in SHOWN if column.on(board)],
        details=[column for column in DETAILS if column.known(board)],
        counted=COUNTED,
        baseline=BASELINE,
        parts=[_parts(board, index) for index in range(len(board.rungs))],
    )


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
        "charts": charts.of_rung(board, index),
        "place": {entry.variant: place for place, entry in enumerate(entries)},
        "groups": {title: rows for title, rows in groups.items() if rows},
        "scales": {
            column.key: Scale.over(map(column.measure, entries), mark=column.mark) if column.drawn else None
            for column in SHOWN
            if column.kind in ("interval", "latency") and column.best
        },
    }


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
    mark: float | None = None

    @classmethod
    def over(cls, measures: Iterable[Estimate | None], *, mark: float | None = None) -> Scale | None:
        """The scale that holds all intervals and the mark; None where there is nothing to draw."""
        ends = [end for m in measures if m for end in (m.value, m.low, m.high) if end is not None]
        if not ends:
            return None
        ends += [] if mark is None else [mark]
        low, high = min(ends), max(ends)
        margin = MARGIN * (high - low) or 0.5
        return cls(low - margin, high + margin, mark)

    def at(self, value: float | None) -> float | None:
        """Where a value lies, to a tenth; None for None."""
        return None if value is None else round(WIDTH * (value - self.low) / (self.high - self.low), 1)

    def bar(self, measure: Estimate) -> dict[str, float | None]:
        """Places of a value, its interval and the scale's mark; without bounds it is a point."""
        value = self.at(measure.value)
        low, high = self.at(measure.low), self.at(measure.high)
        return {
            "value": value,
            "low": value if low is None else low,
            "high": value if high is None else high,
            "mark": self.at(self.mark),
        }


def curve(values: Sequence[float], height: float = 30.0) -> str:
    """The points of an SVG polyline, the largest value at the top; empty for fewer than two values."""
    if len(values) < 2:
        return ""
    low, span, step = min(values), max(values) - min(values), WIDTH / (len(values) - 1)
    heights = [height * (1 - ((value - low) / span if span else 0.5)) for value in values]
    return " ".join(f"{index * step:.1f},{place:.1f}" for index, place in enumerate(heights))
