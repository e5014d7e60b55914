"""Which rows a drawing tells apart, and how they look in all drawings of a budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from moebench.board.model import Entry
from moebench.drawing.style import BLUE, GREEN, GREY, LINE, ORANGE, PURPLE, RED

COLOURS = (BLUE, ORANGE, GREEN, RED, PURPLE, GREY)
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1.2)))
MOST = len(COLOURS) * len(DASHES)
"""Rows beyond it are thin lines in the background, until somebody points at them."""


@dataclass(frozen=True)
class Paint:
    """The line of a row. named: whether the legend has it."""

    colour: str
    dash: Any
    width: float
    named: bool

    @property
    def line(self) -> dict[str, Any]:
        """What matplotlib calls it."""
        return {"color": self.colour, "linestyle": self.dash, "linewidth": self.width}


def paints(entries: Sequence[Entry]) -> list[Paint]:
    """One for each row, in order: the ranked ones come first and so have the plainest."""
    return [
        Paint(COLOURS[i % len(COLOURS)], DASHES[i // len(COLOURS)], 1.6, True)
        if i < MOST
        else Paint(LINE, "-", 0.8, False)
        for i in range(len(entries))
    ]
