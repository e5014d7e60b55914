"""``python -m moebench.publish DIR ...``: write the boards of published directories again, from the records there.

Of any other directory the page above the boards in it is written again.
"""

import sys
from pathlib import Path

from moebench.board import write_board
from moebench.publish.index import write_index
from moebench.publish.sources import is_published, published_board

for directory in map(Path, sys.argv[1:]):
    if is_published(directory):
        for path in write_board(published_board(directory), directory, figures=False):
            print(path)
    else:
        print(write_index(directory) or f"the page in '{directory}' is no index, and was left as it is")
