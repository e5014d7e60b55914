"""The board as files."""

from __future__ import annotations

from pathlib import Path

from moebench.board.formats import TEXTS, charts
from moebench.board.model import Board
from moebench.runs.store import write_atomic

FIGURES = "figures"


def write_board(board: Board, directory: Path, *, figures: bool = True) -> list[Path]:
    """Write board.json, board.md, board.html and board.csv, and the page's drawings as PNG files in ``figures``.

    A file that already says the same is left alone. Returns the files that were written.
    """
    written = [
        path for suffix, text in TEXTS.items() if _write(path := directory / f"board.{suffix}", text(board).encode())
    ]
    if figures and (directory / "board.html" in written or not (directory / FIGURES).is_dir()):
        files = charts.figures(board)
        written += [path for name, png in files.items() if _write(path := directory / FIGURES / name, png)]
        for stale in (directory / FIGURES).glob("*.png"):
            if stale.name not in files:
                stale.unlink()
    return written


def _write(path: Path, content: bytes) -> bool:
    """Whether the file had to be written."""
    if path.is_file() and path.read_bytes() == content:
        return False
    write_atomic(path, content)
    return True
