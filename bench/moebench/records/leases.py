"""Who works on what, where several processes or machines share a results directory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import SoftFileLease, Timeout

from moebench.records.store import cannot_write

LEASE_SECONDS = 60.0
"""How long the lease of a silent owner lasts; on the same machine a dead owner loses it at once."""


class Leases:
    """Leases on names (identities of cells, or words) of a results directory: a file each, with a heartbeat.

    A file system that creates files exclusively is enough, as NFS does. If an owner is cut off for longer than its
    lease, two processes may do the same run for a while; both write the same record.
    """

    def __init__(self, results: Path, seconds: float = LEASE_SECONDS) -> None:
        self._folder, self._seconds = results / "claims", seconds
        self._watched: dict[str, SoftFileLease] = {}

    @contextmanager
    def hold(self, name: str, wait: float = 0.0) -> Iterator[bool]:
        """Hold a lease; yields False, and holds nothing, where another has it after ``wait`` seconds."""
        lease = self._lease(name)
        if not _taken(lease, wait):
            yield False
            return
        try:
            yield True
        finally:
            _release(lease)

    def held_by_another(self, name: str) -> bool:
        """Whether another process holds it; repeated calls detect an owner without a heartbeat."""
        if name not in self._watched and not self._path(name).exists():
            return False
        lease = self._watched.setdefault(name, self._lease(name))
        if not _taken(lease, 0.0):
            return True
        _release(self._watched.pop(name))
        return False

    def _lease(self, name: str) -> SoftFileLease:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(self._folder, error) from error
        return SoftFileLease(self._path(name), lease_duration=self._seconds, thread_local=False)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.claim"


def _taken(lease: SoftFileLease, wait: float) -> bool:
    try:
        lease.acquire(timeout=wait, poll_interval=0.2)
    except Timeout:
        return False
    except OSError as error:
        raise cannot_write(Path(lease.lock_file), error) from error
    return True


def _release(lease: SoftFileLease) -> None:
    with contextlib.suppress(OSError):  # already taken over, or the directory is gone
        lease.release()
