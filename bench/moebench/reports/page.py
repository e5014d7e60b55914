"""The report as one page that needs nothing else: no script and no network."""

from __future__ import annotations

from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING

from moebench.board import numbers
from moebench.board.style import theme
from moebench.reports.evidence import Evidence
from moebench.reports.facts import part_facts, size_tables
from moebench.reports.judged import Judged, tally
from moebench.reports.plot import Drawing, Plot
from moebench.reports.report import Report
from moebench.reports.table import tables_of
from moebench.reports.verdict import FAILS, HOLDS

if TYPE_CHECKING:
    from jinja2 import Environment

INTERVALS = (
    "Intervals are 95 %: t over training seeds, paired by seed for differences{}. Each claim is judged by its own; "
    "nothing is corrected for their number. A claim about several cases is decided by its weakest, and the number "
    "shown is that one."
)


def to_html(report: Report, evidence: Evidence, rows: list[Judged], drawings: list[Drawing], absent: list[Plot]) -> str:
    """The page's text. Names are escaped wherever they stand."""
    titles = {part.name: part.suite.title for part in evidence.parts}
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            evidence=evidence,
            report=report,
            intervals=INTERVALS.format(report.intervals),
            tally=tally(report, rows),
            groups=[(part, titles[part], list(group)) for part, group in groupby(rows, lambda row: row.claim.part)],
            classes={HOLDS: "holds", FAILS: "fails"},
            tables=size_tables(report.sized, evidence),
            others=tables_of(report.tables, evidence),
            drawings=drawings,
            absent=absent,
            parts=[part_facts(part) for part in evidence.parts],
            theme=theme(),
        )
    )


@cache
def _environment() -> Environment:
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=ChoiceLoader(
            [PackageLoader("moebench.reports", "templates"), PackageLoader("moebench.board", "templates")]
        ),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_printable,
    )
    environment.filters |= {"short": numbers.short, "fixed": numbers.fixed}
    return environment


def _printable(value: object) -> object:
    """No control characters; what is already HTML stays as it is."""
    return numbers.printable(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
