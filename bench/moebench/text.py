"""Small pieces of text: names from anyone's code without control characters, counted nouns, consoles that print text
as it is. Imports rich where it makes a console, and nothing else.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 100
"""Places in a line of what goes to a file or another program."""


def plain_console(**options: Any) -> Console:
    """A console for which no string is markup, emoji or a number to be coloured: names and paths print as they are.

    ``options`` are those of rich's console. Where it is no terminal it is :data:`PIPE_WIDTH` wide, unless COLUMNS says
    otherwise.
    """
    from rich.console import Console

    console = Console(markup=False, emoji=False, highlight=False, **options)
    if not (console.is_terminal or "width" in options or os.environ.get("COLUMNS")):
        console.width = PIPE_WIDTH
    return console


SAID = 300
"""Characters of an exception's text that are kept: anyone's code may put megabytes there."""


def told(error: BaseException, length: int = SAID, *, whole: bool = False) -> str:
    """``ValueError: its first line``, without a full stop; also where it has no text, or raises when asked for it.

    whole: all its lines, as one.
    """
    kind = type(error).__name__[:length]
    try:
        text = str(error)[: 10 * length]
    except BaseException as second:
        return f"{kind} (its text cannot be had: {type(second).__name__[:length]})"
    lines = text.strip().splitlines()
    words = " ".join(printable(text if whole else lines[0] if lines else "").split()).rstrip(".")
    return f"{kind}: {shortened(words, length) or 'no message'}"


def shortened(text: str, length: int = 80) -> str:
    """The beginning of a text that anyone may have made long."""
    return text if len(text) <= length else f"{text[:length]}..."


def one_line(text: str) -> str:
    """One line without control characters: names and reasons may come from anyone's code."""
    return printable(text).strip()


def printable(text: str) -> str:
    """A space for every control character, a line's end among them."""
    return "".join(char if char.isprintable() else " " for char in text)


def web_address(text: object) -> str:
    """The text where it is an address that begins with ``https://``, in printable ASCII; else nothing."""
    return text if isinstance(text, str) and re.fullmatch(r"https://[!-~]{1,500}", text) else ""


def counted_noun(number: int, noun: str) -> str:
    """``1 seed``, ``2 seeds``."""
    return f"{number} {noun}{'s' * (number != 1)}"
