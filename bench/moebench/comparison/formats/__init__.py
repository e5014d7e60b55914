"""One comparison for a terminal, for a pull request, and for programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from moebench.comparison.formats.json_object import to_json
from moebench.comparison.formats.markdown import to_markdown
from moebench.comparison.formats.table import print_table, to_table
from moebench.comparison.model import Comparison

TEXTS: Mapping[str, Callable[[Comparison], str]] = {"table": to_table, "md": to_markdown, "json": to_json}
"""Formats by name."""

__all__ = ["TEXTS", "print_table", "to_json", "to_markdown", "to_table"]
