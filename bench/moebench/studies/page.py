"""The report as one page that needs nothing else, no script and no network, and its claims as Markdown."""

from __future__ import annotations

from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING

from moebench.board import numbers
from moebench.board.markdown import escape
from moebench.board.style import theme
from moebench.studies.claim import FAILS, HOLDS
from moebench.studies.evidence import Evidence
from moebench.studies.facts import part_facts, size_tables
from moebench.studies.judged import Judged, tally
from moebench.studies.plot import Drawing, Plot
from moebench.studies.study import Report, tables_of
from moebench.text import printable

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
            [PackageLoader("moebench.studies", "templates"), PackageLoader("moebench.board", "templates")]
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
    return printable(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def to_markdown(report: Report, evidence: Evidence, rows: list[Judged]) -> str:
    """The table of claims, and how each part was measured."""
    lines = [f"# {escape(evidence.title)}", "", f"{report.source}. {tally(report, rows)}", ""]
    lines += [_line("claim", "the paper", "measured here", "verdict"), _line("---", "---", "---", "---")]
    lines += [_claim(row) for row in rows]
    lines += ["", INTERVALS.format(report.intervals), ""]
    for table in tables_of(report.tables, evidence):
        lines += [f"## {escape(table.title)}", "", escape(table.caption), ""]
        lines += [_line(*map(escape, table.head)), _line("---", *["---:"] * (len(table.head) - 1))]
        lines += [*(_line(*map(escape, row)) for row in table.rows), ""]
    lines += ["## Rules", ""]
    lines += [f"- **{escape(row.claim.statement)}** {escape(row.claim.here)} {escape(row.claim.rule)}" for row in rows]
    lines += ["", "## How it was measured", ""]
    for part in map(part_facts, evidence.parts):
        facts = "; ".join(f"{name}: {value}" for name, value in part.facts)
        lines.append(f"- **{escape(part.name)}** {escape(part.question)} {escape(facts)}.")
        lines += [f"  Left out of the full form: {escape(part.left_out)}."] if part.left_out else []
        lines += [f"  {escape(part.missing)}"] if part.missing else []
    return "\n".join(lines) + "\n"


def _claim(row: Judged) -> str:
    finding = row.finding
    decides = finding.decides
    what = f" ({decides.what})" if decides and row.number != "-" else ""
    verdict = f"**{row.verdict}**" + (f": {escape(finding.reason)}" if finding.reason else "")
    return _line(escape(row.claim.statement), escape(row.claim.paper), escape(row.number + what), verdict)


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
