"""``python -m moebench.publish DIR ...``: write the boards of published directories again, from the records there.

Of any other directory the page above the boards in it is written again.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from moebench.board import write_board
from moebench.errors import MoebenchError
from moebench.publish.index import write_index
from moebench.publish.sources import is_published, no_directory, published_board


def main(directories: Sequence[Path]) -> None:
    """Write them and print what was written; :class:`ResultsError` before anything is, where a directory is none."""
    for directory in directories:
        if not directory.is_dir():
            raise no_directory(directory)
    for directory in directories:
        if is_published(directory):
            for path in write_board(published_board(directory), directory, figures=False):
                print(path)
        else:
            print(write_index(directory) or f"the page in '{directory}' is no index, and was left as it is")


if __name__ == "__main__":
    try:
        main([*map(Path, sys.argv[1:])])
    except MoebenchError as error:
        sys.exit(f"moebench: {error}")
