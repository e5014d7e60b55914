"""The board as files."""

from __future__ import annotations

from pathlib import Path

from moebench.board.formats import TEXTS
from moebench.board.model import Board
from moebench.runs.store import write_atomic


def write_board(board: Board, directory: Path) -> list[Path]:
    """Write board.json, board.md, board.html and board.csv; a file that already says the same is left alone.

    Returns the files that were written.
    """
    written = []
    for suffix, text in TEXTS.items():
        path = directory / f"board.{suffix}"
        content = text(board).encode()
        if not path.is_file() or path.read_bytes() != content:
            write_atomic(path, content)
            written.append(path)
    return written
