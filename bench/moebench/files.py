"""Reading files that anyone may have put there: only regular ones, and none larger than it can sensibly be."""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

LOG = logging.getLogger(__name__)

SMALL = 16 << 20
"""Bytes of a record, a manifest, a plan, a suite or a source, at most."""

LARGE = 1 << 30
"""Bytes of a pack or of a run's arrays, at most."""


class UnfitFileError(OSError):
    """A pipe, a device or a socket where a file should be, or a file that is too large to be one of ours."""


def read_bytes(path: Path, limit: int = SMALL, size: Callable[[BinaryIO], int] | None = None) -> bytes:
    """The content; :class:`UnfitFileError` for what is no regular file, or larger than ``limit`` bytes.

    size: the bytes that it must have according to its own beginning, of which it reads little. What has another number,
    such as a sparse file of gigabytes, is :class:`UnfitFileError` before it is read.
    """
    _check(os.stat(path), path, limit)
    if LOG.isEnabledFor(logging.INFO):
        folder = Path(path).parent
        LOG.info("reads from %s", folder.parent if len(folder.name) == 2 else folder)  # ab/IDENTITY.json
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        _check(os.fstat(handle), path, limit)  # of what was opened: it may have been replaced
        if size is not None and size(file) != os.fstat(handle).st_size:
            raise UnfitFileError(errno.EINVAL, "Not of the size that it gives", str(path))
        file.seek(0)
        return file.read()


def read_text(path: Path, limit: int = SMALL) -> str:
    """The same as UTF-8."""
    return read_bytes(path, limit).decode("utf-8")


def _check(found: os.stat_result, path: Path, limit: int) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(found.st_mode):
        raise UnfitFileError(errno.EINVAL, "Not a regular file", str(path))
    if found.st_size > limit:
        raise UnfitFileError(errno.EFBIG, f"Larger than {limit >> 20} MiB", str(path))
