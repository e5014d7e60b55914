"""A comparison as GitHub's Markdown, for a pull request."""

from __future__ import annotations

from moebench.board.formats.markdown import escape
from moebench.board.formats.numbers import plain
from moebench.comparison.formats.words import cells, notes, summary, titles
from moebench.comparison.model import Comparison


def to_markdown(comparison: Comparison) -> str:
    """A heading with the summary, a table, and notes; names are shown as they are."""
    head = titles(comparison)
    lines = [f"### {escape(comparison.suite)}: {summary(comparison)}", ""]
    lines += [f"A is `{_code(comparison.a)}`, B is `{_code(comparison.b)}`.", ""]
    lines += [_line(head), f"|{' --- |' * len(head)}", *(_line(cells(comparison, pair)) for pair in comparison.pairs)]
    return "\n".join([*lines, "", *(f"- {escape(note)}" for note in notes(comparison))]) + "\n"


def _line(texts: list[str]) -> str:
    return f"| {' | '.join(map(escape, texts))} |"


def _code(text: str) -> str:
    """What a code span shows as it is."""
    return plain(text).replace("`", "'")
