"""Small pieces of text: names from anyone's code without control characters, counted nouns, consoles that print text
as it is. Imports rich where it makes a console, and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def plain_console(**options: Any) -> Console:
    """A console for which no string is markup, emoji or a number to be coloured: names and paths print as they are.

    ``options`` are those of rich's console.
    """
    from rich.console import Console

    return Console(markup=False, emoji=False, highlight=False, **options)


def one_line(text: str) -> str:
    """One line without control characters: names and reasons may come from anyone's code."""
    return printable(text).strip()


def printable(text: str) -> str:
    """A space for every control character, a line's end among them."""
    return "".join(char if char.isprintable() else " " for char in text)


def counted_noun(number: int, noun: str) -> str:
    """``1 seed``, ``2 seeds``."""
    return f"{number} {noun}{'s' * (number != 1)}"
