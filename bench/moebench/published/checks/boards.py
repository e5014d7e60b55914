"""The boards against those that the records give here."""

from __future__ import annotations

from collections.abc import Iterator

from moebench.board.formats import TEXTS
from moebench.published.boards import board_of
from moebench.published.submission import Submission


def check(submission: Submission) -> Iterator[str]:
    """A board that is missing, or differs by a byte."""
    board = board_of(submission.results)
    for suffix, text in TEXTS.items():
        path = submission.directory / f"board.{suffix}"
        if not path.is_file():
            yield f"board.{suffix} is missing."
        elif path.read_bytes() != text(board).encode():
            yield f"board.{suffix} is not what the records give; run `moebench publish` again."
