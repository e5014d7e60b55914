"""Small pieces of text: names from anyone's code without control characters, counted nouns. Imports nothing."""

from __future__ import annotations


def one_line(text: str) -> str:
    """One line without control characters: names and reasons may come from anyone's code."""
    return printable(text).strip()


def printable(text: str) -> str:
    """A space for every control character, a line's end among them."""
    return "".join(char if char.isprintable() else " " for char in text)


def counted_noun(number: int, noun: str) -> str:
    """``1 seed``, ``2 seeds``."""
    return f"{number} {noun}{'s' * (number != 1)}"
