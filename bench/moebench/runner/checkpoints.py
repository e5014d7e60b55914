"""Checkpoints of one run: a file that is replaced as training goes on, and removed when its record is written."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from moebench.files import read_bytes
from moebench.records.store import write_atomic
from moebench.runner.stopping import Stopped
from moebench.training.model_state import from_bytes, size_given, to_bytes
from moebench.training.snapshot import Snapshot

CHECKPOINT = 64 << 30
"""Bytes of a checkpoint, at most."""

FIRST_LINE = 65
"""Bytes of the digest, and of the end of its line."""

WORTH = 20.0
"""Times the duration of the last checkpoint until the next: at most 5 % of a run is spent on them."""


@dataclass
class Checkpoints:
    """The keeper of a run's training (``training.snapshot.Keeper``).

    The file's first line is the SHA-256 of the rest, which is in safetensors' format: reading it executes nothing, and
    damage is detected.

    made_by: what determines the numbers, such as versions and device; a checkpoint made by anything else is set aside.
    every: seconds between two. stopping: whether the run was asked to stop, which it does after a checkpoint. alive:
    called at every step. set_aside: why the file could not be used; empty if it could.
    """

    path: Path
    made_by: Mapping[str, str]
    every: float
    stopping: Callable[[], bool]
    alive: Callable[[], None]
    set_aside: str = ""
    _due: float = field(init=False)

    def __post_init__(self) -> None:
        self._due = time.monotonic() + self.every

    def kept(self) -> Snapshot | None:
        """The file's snapshot; None where there is no file, or none that can be used, which is then set aside."""
        try:
            return self._parsed(read_bytes(self.path, CHECKPOINT, partial(size_given, before=FIRST_LINE)))
        except FileNotFoundError:
            return None
        except OSError as error:
            self.refuse(f"it cannot be read ({error.strerror})")
        except ValueError as error:
            self.refuse(str(error))
        return None

    def refuse(self, why: str) -> None:
        """Set the file aside; the run begins anew."""
        aside = self.path.with_suffix(".damaged")
        try:
            self.path.replace(aside)
        except OSError:
            aside = self.path
        self.set_aside = f"the checkpoint was set aside as '{aside.name}': {why}."

    def after(self, step: int, take: Callable[[int], Snapshot]) -> None:
        """Take one if it is due; :class:`Stopped` after a last one if the run was asked to stop."""
        self.alive()
        stopping = self.stopping()
        if not stopping and time.monotonic() < self._due:
            return
        clock = time.monotonic()
        try:
            write_atomic(self.path, self._bytes(take(step)))
        except Exception:
            if not stopping:  # a full disk, or state that cannot be written, costs the checkpoint, not the run
                self._due = time.monotonic() + self.every
                return
        if stopping:
            raise Stopped
        spent = time.monotonic() - clock
        self._due = time.monotonic() + max(self.every, WORTH * spent)

    def remove(self) -> None:
        """Once the run has ended."""
        self.path.unlink(missing_ok=True)

    def _bytes(self, snapshot: Snapshot) -> bytes:
        about = {"step": snapshot.step, "seconds": snapshot.seconds, "made_by": dict(self.made_by)}
        body = to_bytes(snapshot.tensors, {"about": json.dumps(about)})
        return hashlib.sha256(body).hexdigest().encode() + b"\n" + body

    def _parsed(self, content: bytes) -> Snapshot:
        head, _, body = content.partition(b"\n")
        if hashlib.sha256(body).hexdigest().encode() != head:
            raise ValueError("it is damaged")
        try:
            tensors, words = from_bytes(body)
            about = json.loads(words["about"])
            if about["made_by"] != dict(self.made_by):
                raise ValueError("another software or device made it")
            return Snapshot(int(about["step"]), float(about["seconds"]), tensors)
        except (KeyError, TypeError) as error:
            raise ValueError("it is not a checkpoint") from error
