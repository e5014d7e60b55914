"""Text that may come from anyone's code, without what moves a terminal's cursor. Imports nothing."""

from __future__ import annotations


def one_line(text: str) -> str:
    """One line without control characters: names and reasons may come from anyone's code."""
    return printable(text).strip()


def printable(text: str) -> str:
    """A space for every control character, a line's end among them."""
    return "".join(char if char.isprintable() else " " for char in text)
