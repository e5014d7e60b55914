"""The claims as GitHub's Markdown, for a README or an issue."""

from __future__ import annotations

from moebench.board.markdown import escape
from moebench.reports.evidence import Evidence
from moebench.reports.facts import part_facts
from moebench.reports.judged import Judged, tally
from moebench.reports.page import INTERVALS
from moebench.reports.report import Report
from moebench.reports.table import tables_of


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
