"""Files of a published directory, which anybody may have written: regular ones of a size that they can have."""

from __future__ import annotations

from pathlib import Path

from moebench.errors import ResultsError

SMALL = 2**20
LARGE = 2**30
"""Bytes that a file may have: what a program writes about records; and the records themselves."""


def read_regular(path: Path, most: int = SMALL) -> bytes:
    """The content; OSError where it cannot be read, :class:`ResultsError` where it is no file of ``most`` bytes."""
    if path.exists() and not path.is_file():
        raise ResultsError(f"'{path}' is not a file.")
    if (size := path.stat().st_size) > most:
        raise ResultsError(f"'{path}' has {size:,} bytes; what moebench writes there has at most {most:,}.")
    return path.read_bytes()
