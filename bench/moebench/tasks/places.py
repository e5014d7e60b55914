"""Where data are looked for, and what is said when they are not there."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from moebench.errors import DataError

VARIABLE = "MOEBENCH_DATA"


def cache_dir() -> Path:
    """The user's cache directory for moebench."""
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("moebench", appauthor=False))


def roots(data_dir: Path | None) -> tuple[Path, ...]:
    """Directories to search, in order; a download goes into the first.

    Only the one the user named; otherwise $MOEBENCH_DATA where it is set, and the user's cache directory.
    """
    if data_dir is not None:
        return (_directory(Path(data_dir)),)
    variable = os.environ.get(VARIABLE)
    named = (_directory(Path(variable)),) if variable else ()
    return (*named, cache_dir() / "data")


def file_fingerprint(files: Iterable[Path]) -> str:
    """Twenty hexadecimal digits of path, size and modification time, without opening a file."""
    facts = []
    for path in files:
        status = path.stat()
        facts.append([str(path.resolve()), status.st_size, status.st_mtime_ns])
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:20]


def missing(title: str, searched: Sequence[Path], remedy: str, reason: str = "") -> DataError:
    """The error for data that are in none of the places; ``reason`` says why a download failed."""
    places = " or ".join(f"'{place}'" for place in searched)
    failed = f" and could not be downloaded ({reason})" if reason else ""
    return DataError(f"{title} is not in {places}{failed}; {remedy}.")


def _directory(path: Path) -> Path:
    path = path.expanduser()
    if path.exists() and not path.is_dir():
        raise DataError(f"the data directory '{path}' is a file; name the directory that holds the data.")
    if path.exists() and not os.access(path, os.R_OK | os.X_OK):
        raise DataError(f"the data directory '{path}' may not be read; change its permissions or name another.")
    return path
