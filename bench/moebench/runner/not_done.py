"""What is not done of a run, with the lines of the author's code that raised: on a terminal and in a notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from moebench.frames import Frame, short_traceback
from moebench.runner.run_plan import Unfinished
from moebench.text import one_line

NAMED = 2
"""Runs that are named of those that have the same reason."""


def not_done(
    unfinished: Sequence[Unfinished], frames: Mapping[str, Sequence[Frame]], *, whole: bool = False
) -> RenderableType:
    """Runs of the same status and reason together; below them where it was raised. whole: every line of it."""
    alike: dict[tuple[str, str], list[str]] = {}
    for label, status, reason in unfinished:
        alike.setdefault((status, reason), []).append(label)
    lines = [Text(f"{len(unfinished)} not done", style="bold")]
    for (status, reason), labels in alike.items():
        more = f" and {len(labels) - NAMED} more" if len(labels) > NAMED else ""
        lines.append(Text.assemble((f"{', '.join(labels[:NAMED])}{more}", "bold"), f"  {status}: {one_line(reason)}"))
        lines += map(Text, short_traceback(frames.get(labels[0], ()), whole=whole))
    return Group(*lines)
