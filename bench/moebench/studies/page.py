"""The report as one page that needs nothing else, no script and no network, and its claims as Markdown."""

from __future__ import annotations

from itertools import groupby

from moebench.board.markdown import escape, table
from moebench.board.page import environment_of
from moebench.board.style import theme
from moebench.studies.claim import FAILS, HOLDS
from moebench.studies.evidence import Evidence
from moebench.studies.facts import part_facts, size_tables
from moebench.studies.judged import Judged, tally
from moebench.studies.plot import Drawing, Plot
from moebench.studies.study import Study, tables_of

INTERVALS = (
    "Intervals are t over training seeds, paired by seed for differences{}. A claim of one interval is judged by one "
    "of 95 %, a claim of n by n of 1 - 5 %/n (Bonferroni), so that a claim's intervals all hold with 95 %; these are "
    "shown. Nothing is corrected for the number of claims. A claim about several cases is decided by its weakest, and "
    "the number shown is that one."
)


def to_html(report: Study, evidence: Evidence, rows: list[Judged], drawings: list[Drawing], absent: list[Plot]) -> str:
    """The page's text. Names are escaped wherever they stand."""
    titles = {part.name: part.suite.title for part in evidence.parts}
    return (
        environment_of("moebench.studies", "moebench.board")
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


def to_markdown(report: Study, evidence: Evidence, rows: list[Judged]) -> str:
    """The table of claims, and how each part was measured."""
    lines = [f"# {escape(evidence.title)}", "", f"{report.source}. {tally(report, rows)}", ""]
    lines += [*table(["claim", "the paper", "measured here", "verdict"], []), *map(_claim, rows)]
    lines += ["", INTERVALS.format(report.intervals), ""]
    for each in tables_of(report.tables, evidence):
        lines += [f"## {escape(each.title)}", "", escape(each.caption), ""]
        lines += [*table(each.head, each.rows, right=range(1, len(each.head))), ""]
    lines += ["## Rules", ""]
    lines += [f"- **{escape(row.claim.statement)}** {escape(row.claim.here)} {escape(row.claim.rule)}" for row in rows]
    lines += ["", "## How it was measured", ""]
    for part in map(part_facts, evidence.parts):
        facts = "; ".join(f"{name}: {value}" for name, value in part.facts)
        end = "" if part.question.endswith("?") else "."
        lines.append(f"- **{escape(part.name)}**: {escape(part.question.rstrip('.'))}{end} {escape(facts)}.")
        lines += [f"  Left out of the full form: {escape(part.left_out)}."] if part.left_out else []
        lines += [f"  {escape(part.missing)}"] if part.missing else []
    return "\n".join(lines) + "\n"


def _claim(row: Judged) -> str:
    finding = row.finding
    decides = finding.decides
    what = f" ({decides.what})" if decides and row.number != "-" else ""
    verdict = f"**{row.verdict}**" + (f": {escape(finding.reason)}" if finding.reason else "")
    cells = map(escape, (row.claim.statement, row.claim.paper, row.number + what))
    return f"| {' | '.join((*cells, verdict))} |"
