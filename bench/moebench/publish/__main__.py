"""``python -m moebench.publish DIR ...``: write the boards of published directories again, from the records there."""

import sys
from pathlib import Path

from moebench.board import write_board
from moebench.publish.sources import published_board

for directory in map(Path, sys.argv[1:]):
    for path in write_board(published_board(directory), directory, figures=False):
        print(path)
