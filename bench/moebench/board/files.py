"""The board of a suite that has run, and the board as files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from moebench.board import charts
from moebench.board.build import build_board
from moebench.board.data import to_csv, to_json
from moebench.board.markdown import to_markdown
from moebench.board.model import Board
from moebench.board.page import to_html
from moebench.plans.cache import get_plan
from moebench.plans.generations import grown
from moebench.plans.history import board_request
from moebench.records import Store
from moebench.records.conformance import read_conformance
from moebench.records.store import write_atomic

TEXTS: Mapping[str, Callable[[Board], str]] = {"json": to_json, "csv": to_csv, "md": to_markdown, "html": to_html}
"""What makes the text of each format of files, by name; the numbers first, whatever becomes of the page."""

FIGURES = "figures"


def read_board(store: Store, suite: str | None, seeds: int | None = None, trials: int | None = None) -> Board:
    """The board of a suite (a name or the path of its file; None: the last one that ran), as it last ran.

    ``seeds`` and ``trials`` instead of those it last ran with. Afterwards ``store.damaged`` lists the records that
    could not be read. :class:`ResultsError` where the suite has not run.
    """
    request = board_request(store.root, suite, seeds, trials)
    plan = get_plan(request, store.root)
    others = partial(store.finals_of, plan.suite.name)
    return build_board(grown(plan, store.get), store.get, others, read_conformance(store.root))


def write_board(board: Board, directory: Path, *, figures: bool = True) -> list[Path]:
    """Write board.json, board.csv, board.md and board.html, and the page's drawings as PNG files in ``figures``.

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
    if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
        return False
    write_atomic(path, content)
    return True
