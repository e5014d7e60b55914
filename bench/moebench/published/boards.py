"""The board of a published directory."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from moebench.board.build import build_board
from moebench.board.load import read_board
from moebench.board.model import Board
from moebench.errors import MoebenchError, ResultsError
from moebench.published.manifest import sha256
from moebench.published.pack import NAME
from moebench.published.sources import ResultSet, named_directory, open_results
from moebench.published.verified import read_verification
from moebench.runs import Store


def published_board(directory: Path) -> Board:
    """The board of a directory that ``moebench publish`` wrote, made from its records."""
    return board_of(open_results(directory))


def board_of(results: ResultSet) -> Board:
    """The board of records from a published directory, with what was run again of these very records."""
    try:
        board = build_board(results.plan, results.lookup)
    except MoebenchError:
        raise
    except Exception as error:  # anyone may have written them
        raise ResultsError(
            f"no board can be made of the records in '{results.source}' ({type(error).__name__}: {error}); "
            f"`moebench verify {results.source}` says more."
        ) from error
    seen = read_verification(results.source)
    if seen is not None and seen.records != sha256((results.source / NAME).read_bytes()):
        seen = None
    return dataclasses.replace(board, verification=seen)


def load_board(
    suite: str | Path | None = None,
    results: str | Path = "results",
    *,
    seeds: int | None = None,
    trials: int | None = None,
) -> Board:
    """The board of a suite as it last ran, or of a published directory.

    suite: a name, the path of a suite's file, a directory of ``moebench publish``, or None for the suite that ran last.
    ``seeds`` and ``trials`` instead of those it last ran with, as on the command line.
    """
    directory = None if suite is None else named_directory(str(suite))
    if directory is not None:
        return published_board(directory)
    return read_board(Store(Path(results)), None if suite is None else str(suite), seeds, trials)
