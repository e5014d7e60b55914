"""Downloads through torchvision: whole or not at all, and quick to fail without a network."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

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
