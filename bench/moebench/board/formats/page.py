"""The board as one page that needs nothing else: no network, and whole without its script."""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from moebench.board.formats import bars, charts, facts, numbers, words
from moebench.board.model import Board, Entry, Measure, Provenance, TaskResult
from moebench.board.rules import RANK_RULE
from moebench.board.shares import NO_EXPERTS, SHARES, in_words
from moebench.drawing.style import theme
from moebench.planning.rows import BASELINE

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

RUN_IN_MLFLOW = "http://127.0.0.1:5000/moebench/run/"
"""Where ``moebench ui`` answers for a record's identity, unless it is told another port."""

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
        best="high" if board.tasks[0].higher_is_better else "low",
        ladder=charts.of_ladder(board),
        strangers=words.strangers(board),
        words=words,
        rank_rule=RANK_RULE,
        held_equal=facts.held_equal(board),
        baseline=BASELINE,
        parts=[_parts(board, index) for index in range(len(board.rungs))],
        no_experts=NO_EXPERTS,
    )


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("moebench.board.formats", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_printable,
    )
    environment.filters |= {
        "fixed": numbers.fixed,
        "bounds": numbers.bounds,
        "short": numbers.short,
        "rank": numbers.rank,
        "milliseconds": numbers.milliseconds,
        "setting": facts.fact,
        "breakable": breakable,
        "moment": numbers.moment,
        "curve": bars.curve,
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
    return numbers.printable(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


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
            "representation": bars.Scale.over(e.representation for e in entries),
            "vs_dense": bars.Scale.over((e.vs_dense for e in entries), mark=0),
            "specialization": bars.Scale.over((e.specialization for e in entries), mark=0),
            "ratio": bars.Scale.over((_ratio(e) for e in entries), mark=1),
        },
    }


def _ratio(entry: Entry) -> Measure | None:
    return entry.latency.ratio_to_dense if entry.latency else None


def breakable(name: str) -> Markup:
    """A name apart from what stands beside it, in whatever direction it is read; may break after an underscore."""
    from markupsafe import Markup, escape

    return Markup("<bdi>{}</bdi>").format(escape(numbers.shown_name(name)).replace("_", Markup("_<wbr>")))


def versions_of(provenance: Provenance, board: Board) -> str:
    """The software that a row's runs do not share with the whole board."""
    own = [f"{name} {version}" for name, version in provenance.versions.items() if version != board.versions.get(name)]
    return ", ".join(own) or "as the whole board"


def value_of(task: TaskResult, name: str) -> float | None:
    """A score beside the headlines, by name; None where it has no value."""
    return next((score.measure.value for score in task.scores if score.name == name and score.measure), None)


def other_scores(task: TaskResult) -> list[tuple[str, Measure | None, str]]:
    """(name in words, mean over seeds, reason) of the scores that have no column of their own."""
    columns = {f"{name}_{share}" for name in PER_SHARE for share in SHARES}
    return [(s.name.replace("_", " "), s.measure, s.reason) for s in task.scores if s.name not in columns]
