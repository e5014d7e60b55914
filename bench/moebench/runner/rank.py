"""The program of every rank but the first: ``python -m moebench.runner.rank``, a ``Seat`` on its standard input.

It only trains its share; rank 0 scores and writes.
"""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch

from moebench.plugins.named import remember
from moebench.processes import end_with, keep_freed_memory
from moebench.runner.heartbeat import OfProcess
from moebench.runner.outcomes import status_of
from moebench.runner.ranks import Agreement, Seat, device_of, meeting
from moebench.runner.stopping import ENDED_EARLY, Stopped
from moebench.runner.train_cell import train_share
from moebench.training.device import use
from moebench.training.ranks.shared import joined
from moebench.training.snapshot import Snapshot


@dataclass(frozen=True)
class Following:
    """The keeper of a rank that keeps nothing, and stops when all do."""

    heard: Agreement

    def kept(self) -> None:
        """Rank 0 knows."""

    def refuse(self, why: str) -> None:
        """Rank 0 does."""

    def after(self, step: int, take: Callable[[int], Snapshot]) -> None:
        """:class:`Stopped` if one of the ranks was asked to stop."""
        if self.heard.stopping():
            raise Stopped


def follow(seat: Seat) -> None:
    """Train the share of a seat's rank."""
    end_with(seat.owner)
    remember(seat.job.plugins)
    job, device, heard = seat.job, device_of(seat.job, seat.rank), Agreement(OfProcess())
    torch.set_num_threads(job.cell.threads)
    keep_freed_memory()
    use(device, job.cell.precision, deterministic=job.deterministic)
    store = meeting(seat.port)
    with joined(device, store, seat.rank, job.ranks) as heard.world:
        try:
            train_share(job, device, Following(heard), heard.world)
        except Exception as error:  # rank 0 learns why, before the others find this one gone
            store.set(seat.failure, json.dumps(status_of(error)))
            raise


def main() -> None:
    """Take the seat that is on standard input."""
    try:
        follow(pickle.load(sys.stdin.buffer))
    except Stopped:
        sys.exit(ENDED_EARLY)


if __name__ == "__main__":
    main()
