"""The published boards that moebench brings: in its wheel, or in the repository that it is installed from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from moebench import machine
from moebench.errors import ResultsError
from moebench.publish.pack import NAME

PREFIX = "published:"
"""``published:standard`` names the board of that suite."""

PLACE = Path(__file__).parents[1]
ROOTS = (PLACE / "published", PLACE.parent.parent / "results" / "published")
"""In the wheel, and in the repository: ``<suite>/<device>`` below."""


def brought_boards(suite: str) -> Iterator[Path]:
    """The directories of its boards, those of this machine's processor first."""
    for root in ROOTS:
        found = sorted(each.parent for each in root.glob(f"*/*/{NAME}") if each.parent.parent.name == suite)
        here = "".join(char if char.isalnum() else "-" for char in machine.cpu_model().lower()).strip("-")
        yield from sorted(found, key=lambda each: here not in each.name)


def known_boards() -> list[str]:
    """The suites that there are published boards of."""
    return sorted({each.parent.parent.name for root in ROOTS for each in root.glob(f"*/*/{NAME}")})


def brought_directory(named: str) -> Path | None:
    """The directory that ``published:SUITE`` names; None for any other text. :class:`ResultsError` if there is none."""
    if not named.startswith(PREFIX):
        return None
    suite = named.removeprefix(PREFIX)
    found = next(brought_boards(suite), None)
    if found is None:
        known = ", ".join(known_boards()) or "none yet"
        raise ResultsError(
            f"moebench brings no published board of suite '{suite}'; those of this protocol: {known}.",
            code="no-published-board",
            suite=suite,
        )
    return found
