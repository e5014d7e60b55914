"""One board in five formats; each a function from :class:`~moebench.board.model.Board` to text."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from moebench.board.formats.comma import to_csv
from moebench.board.formats.json_object import to_json
from moebench.board.formats.markdown import to_markdown
from moebench.board.formats.page import to_html
from moebench.board.model import Board

TEXTS: Mapping[str, Callable[[Board], str]] = {
    "json": to_json,
    "md": to_markdown,
    "html": to_html,
    "csv": to_csv,
}
"""Formats of files, by name; the table of a terminal is ``formats.table``."""
