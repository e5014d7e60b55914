"""``python -m moebench`` is ``moebench``."""

import os
import sys

if not sys.flags.safe_path and sys.path and sys.path[0] == os.getcwd():
    sys.path.append(sys.path.pop(0))  # what lies there hides no module of Python's or of an installed package

from moebench.cli.main import main

if __name__ == "__main__":
    main()
