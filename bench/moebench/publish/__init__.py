"""Results that are handed on: a suite's plan and records in one file, the boards made of them, and their verification.

``checks`` and ``rerun`` are imported on their own: they plan, build and run variants, which takes torch.
"""

from moebench.publish.index import write_index
from moebench.publish.sources import (
    Submission,
    board_in,
    compare_directories,
    load_board,
    named_directory,
    open_results,
    published_board,
    reuse,
)
from moebench.publish.write import publish

__all__ = [
    "Submission",
    "board_in",
    "compare_directories",
    "load_board",
    "named_directory",
    "open_results",
    "publish",
    "published_board",
    "reuse",
    "write_index",
]
