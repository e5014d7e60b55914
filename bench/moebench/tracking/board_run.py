"""The board as a run in MLflow, and as the experiment's note."""

from __future__ import annotations

import json
from pathlib import Path

from moebench.board.files import FIGURES
from moebench.planning.plan import Plan
from moebench.runs.canonical import digest
from moebench.tracking.content import Content, Entry, shortened, version_of
from moebench.tracking.labels import experiment_tags

NOTE_LENGTH = 5000
"""MLflow before 3.17 takes no longer note."""


def board_entry(plan: Plan, directory: Path) -> Entry | None:
    """The run of the board in a directory; None where there is none, or one of another protocol."""
    files = tuple(path for suffix in ("json", "md", "html", "csv") if (path := directory / f"board.{suffix}").is_file())
    if not _is_of(plan, directory / "board.json"):
        return None
    texts = [path.read_text(encoding="utf-8") for path in files]
    files += tuple(sorted((directory / FIGURES).glob("*.png")))
    return Entry(key="board", version=version_of(texts), fixed=False, content=lambda: _content(plan, files))


def _is_of(plan: Plan, path: Path) -> bool:
    try:
        board = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(board, dict) and (board.get("suite"), board.get("protocol")) == (
        plan.suite.name,
        plan.protocol,
    )


def _content(plan: Plan, files: tuple[Path, ...]) -> Content:
    made = [round(path.stat().st_mtime * 1000) for path in files]
    markdown = next((path.read_text(encoding="utf-8") for path in files if path.suffix == ".md"), None)
    return Content(
        name="board",
        status="FINISHED",
        started=min(made),
        ended=max(made),
        tags=experiment_tags(plan) | {"moebench.kind": "board", "moebench.identity": digest(experiment_tags(plan))},
        files=files,
        note=None if markdown is None else shortened(markdown, NOTE_LENGTH),
    )
