"""What is measured of trained models.

A measure is a function of a :class:`Subject` and of what a suite gives it; it returns :class:`Scores`. Measures are
plug-ins of the group ``moebench.measures``, a file each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moebench.measures.scores.final import Scores
    from moebench.measures.subject import Subject

__all__ = ["Scores", "Subject"]


def __getattr__(name: str) -> Any:
    """The two names, imported when they are used: a board reads names of scores from here without torch."""
    if name == "Scores":
        from moebench.measures.scores.final import Scores

        return Scores
    if name == "Subject":
        from moebench.measures.subject import Subject

        return Subject
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
