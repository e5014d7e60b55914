"""Where data are: the places that are searched, downloads through torchvision, and a cache of decoded images."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from moebench.errors import DataError
from moebench.tasks.pixels import Pixels

LOG = logging.getLogger(__name__)

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
        LOG.info("data: %s", path.parent)
        status = path.stat()
        facts.append([str(path.resolve()), status.st_size, status.st_mtime_ns])
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:20]


def missing(title: str, searched: Sequence[Path], remedy: str, reason: str = "") -> DataError:
    """The error for data that are in none of the places; ``reason`` says why a download failed."""
    places = " or ".join(f"'{place}'" for place in searched)
    failed = f" and could not be downloaded ({reason})" if reason else ""
    return DataError(f"{title} is not in {places}{failed}; {remedy}.", code="data-missing", title=title)


def _directory(path: Path) -> Path:
    path = path.expanduser()
    if path.exists() and not path.is_dir():
        raise DataError(
            f"the data directory '{path}' is a file; name the directory that holds the data.", code="data-dir-is-file"
        )
    if path.exists() and not os.access(path, os.R_OK | os.X_OK):
        raise DataError(
            f"the data directory '{path}' may not be read; change its permissions or name another.",
            code="data-dir-unreadable",
        )
    return path


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


TIMEOUT_S = 15.0
"""How long a connection may stay silent before the download counts as failed."""


def download(dataset: str, folder: str, target: Path) -> str:
    """Let ``torchvision.datasets.<dataset>`` download into ``target/folder``; returns why it failed, or "".

    It works in a temporary directory beside, because torchvision writes under the final name as bytes arrive;
    only files whose checksum it has verified are moved to their place; those already there stay as they are.
    """
    created = not target.exists()
    try:
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target, prefix=".download-") as scratch, _timeout(TIMEOUT_S):
            _fetch(dataset, Path(scratch))
            _install(Path(scratch) / folder, target / folder)
    # torchvision raises RuntimeError, urllib OSError, http.client and tarfile their own kinds.
    except Exception as error:
        if created:
            with contextlib.suppress(OSError):
                target.rmdir()
        return _last_line(error)
    return ""


def _fetch(dataset: str, scratch: Path) -> None:
    import torchvision.datasets

    getattr(torchvision.datasets, dataset)(root=str(scratch), download=True)


def _install(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir()):
        if path.suffix != ".gz" and not (target / path.name).exists():
            os.replace(path, target / path.name)


@contextlib.contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    # torchvision passes no timeout to urllib, which would wait for ever behind a firewall that drops packets.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__).rstrip(".")
