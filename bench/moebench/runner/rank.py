"""The program of every rank but the first: ``python -m moebench.runner.rank``, a ``Seat`` on its standard input.

It trains its share and scores and writes nothing; rank 0 does.
"""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from moebench.runner.heartbeat import OfProcess
from moebench.runner.outcomes import status_of
from moebench.runner.processes import end_with, keep_freed_memory
from moebench.runner.ranks import Agreement, Seat, device_of, meeting
from moebench.runner.stopping import ENDED_EARLY, Stopped
from moebench.runner.train_cell import train_share
from moebench.training.ranks.shared import joined
from moebench.training.snapshot import Snapshot

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store


@dataclass(frozen=True)
class Following:
    """The keeper of a rank that keeps nothing, and stops when all do."""

    heard: Agreement

    def kept(self) -> Snapshot | None:
        """Rank 0 says."""
        return None

    def refuse(self, why: str) -> None:
        """Rank 0 does."""

    def after(self, step: int, take: Callable[[int], Snapshot]) -> None:
        """:class:`Stopped` if one of the ranks has been told to stop."""
        if self.heard.stopping():
            raise Stopped


def follow(seat: Seat) -> None:
    """Train the share of a seat's rank."""
    end_with(seat.owner)
    job, device, heard = seat.job, device_of(seat.job, seat.rank), Agreement(OfProcess())
    torch.set_num_threads(job.cell.threads)
    keep_freed_memory()
    store = meeting(seat.port)
    with joined(device, store, seat.rank, job.ranks) as heard.world, _telling(seat, store):
        train_share(job, device, Following(heard), heard.world)


@contextmanager
def _telling(seat: Seat, store: Store) -> Iterator[None]:
    """Tell rank 0 why this one failed, before the others find it gone."""
    try:
        yield
    except Exception as error:
        store.set(seat.failure, json.dumps(status_of(error)))
        raise


def main() -> None:
    """Sit down where standard input says."""
    try:
        follow(pickle.load(sys.stdin.buffer))
    except Stopped:
        sys.exit(ENDED_EARLY)


if __name__ == "__main__":
    main()
