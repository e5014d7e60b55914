"""Boards and comparisons: records in, statistics, and the same rows as table, JSON, Markdown, CSV and page.

Nothing here imports torch or mlflow: a board is a function of a plan and the records alone.
"""

from moebench.board.build import build_board
from moebench.board.choose import RowLimits, choose
from moebench.board.compare import Comparison
from moebench.board.evidence import ResultSet, RowRuns
from moebench.board.files import TEXTS, read_board, write_board
from moebench.board.markdown import to_markdown
from moebench.board.model import Board, Entry, Estimate, Verification
from moebench.board.notebook import board_html, comparison_html, plot, to_pandas
from moebench.board.reasons import Reason
from moebench.board.table import print_board, to_table

# Here, because tables are made of boards: how Python and notebooks print one.
Board.__str__ = to_table  # type: ignore[method-assign, assignment]
Board._repr_markdown_ = to_markdown  # type: ignore[attr-defined]
Board._repr_html_ = board_html  # type: ignore[attr-defined]
Board.to_pandas = to_pandas  # type: ignore[attr-defined]
Board.plot = plot  # type: ignore[attr-defined]
Comparison._repr_html_ = comparison_html  # type: ignore[attr-defined]

__all__ = [
    "TEXTS",
    "Board",
    "Entry",
    "Estimate",
    "Reason",
    "ResultSet",
    "RowLimits",
    "RowRuns",
    "Verification",
    "build_board",
    "choose",
    "print_board",
    "read_board",
    "to_table",
    "write_board",
]
