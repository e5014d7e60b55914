"""Decoded images in the user's cache directory, so that they are decoded once."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from moebench.tasks.pixels import Pixels
from moebench.tasks.places import cache_dir

VERSION = "1"
"""Raised when the meaning of what is cached changes."""


def cached(fingerprint: str, make: Callable[[], Pixels]) -> Pixels:
    """What ``make`` returns, from the cache where files of this fingerprint were decoded before.

    A cache that is damaged is made again; one that cannot be written is done without.
    """
    folder = cache_dir() / "decoded" / f"{fingerprint}-{VERSION}"
    pixels = _read(folder)
    if pixels is None:
        pixels = make()
        with contextlib.suppress(OSError):
            _write(folder, pixels)
    return pixels


def _read(folder: Path) -> Pixels | None:
    import numpy as np

    try:
        images_NCHW = np.load(folder / "images.npy", mmap_mode="r")
        labels_N = np.load(folder / "labels.npy")
    except (OSError, ValueError, EOFError):
        return None
    return Pixels(images_NCHW, labels_N) if len(images_NCHW) == len(labels_N) else None


def _write(folder: Path, pixels: Pixels) -> None:
    """Write beside and rename: another process sees both arrays or none."""
    import numpy as np

    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".new-"))
    try:
        np.save(scratch / "images.npy", pixels.images_NCHW)
        np.save(scratch / "labels.npy", pixels.labels_N)
        if folder.exists():
            shutil.rmtree(folder)
        os.rename(scratch, folder)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
