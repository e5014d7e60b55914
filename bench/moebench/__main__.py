"""``python -m moebench`` is ``moebench``."""

from moebench.cli.main import main

if __name__ == "__main__":
    main()
